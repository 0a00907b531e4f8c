/** Generators and readers that several tests share. */
import fc from "fast-check";
import type { Catalog, Instance } from "../../../model/routes";
import type { RenderOptions } from "./render";

export const renderOptions: RenderOptions = {
  httpPort: 80,
  statsPort: 1936,
  threads: 2,
  dir: "/var/lib/switchyard",
  runDir: "/var/lib/switchyard/run",
  ipv6: false,
};

const hostileText = fc.oneof(
  fc.string(),
  fc.string({ unit: "binary" }),
  fc.constantFrom(
    "a\n  server evil 6.6.6.6:80",
    "a;shutdown sessions server x/y",
    "x|0|-|0|y",
    "${STATS_PASSWORD}",
    "%[env(STATS_PASSWORD)]",
    "a b",
    "*/",
    "../..",
    "#",
    "\r\n\r\n",
    "__proto__",
    "constructor",
  ),
);

const name = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom("a", "b", "a/b", "hello", "hello/v1", "hello/v2", "hello/v10", "x/y/v3"),
  },
  { weight: 1, arbitrary: hostileText },
);

const metaValue: Readonly<Record<string, fc.Arbitrary<string>>> = {
  host: fc.constantFrom("api.example.com", "x.org"),
  path: fc.constantFrom("/", "/a", "/a/b", "/api"),
  strip_prefix: fc.constantFrom("true", "false"),
  balance: fc.constantFrom("leastconn", "random", "source", "uri"),
  weight: fc.constantFrom("0", "1", "256"),
  health_path: fc.constantFrom("/health", "/h?x=%20"),
  timeout_server: fc.constantFrom("5", "2m"),
  maxconn: fc.constantFrom("1", "100"),
  sticky: fc.constantFrom("true", "false"),
  proto: fc.constantFrom("h2c", "h1"),
  tcp_port: fc.constantFrom("5432", "25"),
};

const meta = fc
  .array(
    fc.oneof(
      {
        weight: 5,
        arbitrary: fc
          .constantFrom(...Object.keys(metaValue))
          .chain((key) => fc.tuple(fc.constant(key), metaValue[key] ?? hostileText)),
      },
      {
        weight: 1,
        arbitrary: fc.tuple(fc.oneof(fc.constantFrom(...Object.keys(metaValue)), hostileText), hostileText),
      },
    ),
    { maxLength: 2 },
  )
  .map((entries) => Object.fromEntries(entries));

const instance: fc.Arbitrary<Instance> = fc.record({
  service: name,
  id: hostileText,
  node: hostileText,
  address: fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom("10.0.0.1", "10.0.0.2", "2001:db8::1") },
    { weight: 1, arbitrary: hostileText },
  ),
  port: fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 1, max: 9 }) },
    { weight: 1, arbitrary: fc.double() },
  ),
  tags: fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(["rest"], ["http"], ["tcp"], ["x", "rest"]) },
    { weight: 1, arbitrary: fc.array(hostileText) },
  ),
  meta,
  healthy: fc.boolean(),
  warning: fc.boolean(),
});

const values = fc
  .array(
    fc.tuple(
      fc.constantFrom(
        "service/haproxy/maxconn",
        "service/haproxy/timeouts/connect",
        "service/haproxy/versions/hello",
        "service/haproxy/versions/x/y",
      ),
      fc.oneof(fc.constantFrom("100", "v1", "v1=50,v2=50", "v2=99,v10=1"), hostileText),
    ),
    { maxLength: 3 },
  )
  .map((entries) => Object.fromEntries(entries));

/** Catalogs with much that is right and something that is not. */
export const catalogs: fc.Arbitrary<Catalog> = fc.record({
  instances: fc.array(instance, { maxLength: 12 }),
  kv: values,
});
