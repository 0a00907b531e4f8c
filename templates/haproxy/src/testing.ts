/** Generators and readers that several tests share. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import fc from "fast-check";
import { options } from "../../../routing/options/index";
import type { Catalog, Instance } from "../../../routing/types";
import type { RenderOptions } from "./config/types";

export const renderOptions: RenderOptions = {
  httpPort: 80,
  statsPort: 1936,
  threads: 2,
  dir: "/var/lib/switchyard",
  runDir: "/var/lib/switchyard/run",
  ipv6: false,
};

/** A healthy instance with the tag `rest`. */
export const instance = (service: string, port: number, given: Partial<Instance> = {}): Instance => ({
  service,
  id: `${service}:${port}`,
  node: "n",
  address: "10.0.0.1",
  port,
  tags: ["rest"],
  meta: {},
  healthy: true,
  ...given,
});

/** A new self-signed certificate, valid for two days, and its key. */
export function selfSigned(name: string, names: readonly string[] = [name]): { cert: string; key: string } {
  const dir = mkdtempSync(join(tmpdir(), "certificate-"));
  const request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(" ");
  const subject = [
    "-subj",
    `/CN=${name}`,
    "-addext",
    `subjectAltName=${names.map((each) => `DNS:${each}`).join()}`,
  ];
  execFileSync("openssl", [...request, ...subject, "-keyout", "key", "-out", "cert"], {
    cwd: dir,
    stdio: "ignore",
  });
  const [cert, key] = ["cert", "key"].map((file) => readFileSync(join(dir, file), "utf8"));
  rmSync(dir, { recursive: true });
  return { cert: cert ?? "", key: key ?? "" };
}

/** The hosts under which the routes of a request are looked up, in order: its own, wildcards from the longest, any. */
export function hostsLookedUp(host: string): string[] {
  const labels = host.split(".");
  return [host, ...labels.slice(1).map((_, index) => `*.${labels.slice(index + 1).join(".")}`), "*"];
}

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

const metaValue: Readonly<Record<string, fc.Arbitrary<string>>> = Object.fromEntries(
  options.map(({ key, examples }) => [key, fc.constantFrom(...examples)]),
);

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

const anyInstance: fc.Arbitrary<Instance> = fc.record({
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
  createIndex: fc.constantFrom(10, 11, 12),
  weights: fc.record({ passing: fc.constantFrom(1, 2, 9, 65_535), warning: fc.constantFrom(0, 1, 65_535) }),
});

const values = fc
  .array(
    fc.tuple(
      fc.constantFrom(
        "service/haproxy/maxconn",
        "service/haproxy/timeouts/connect",
        "service/haproxy/headers/bytes",
        "service/haproxy/headers/fields",
        "service/haproxy/versions/hello",
        "service/haproxy/versions/x/y",
      ),
      fc.oneof(fc.constantFrom("100", "20000", "v1", "v1=50,v2=50", "v2=99,v10=1"), hostileText),
    ),
    { maxLength: 3 },
  )
  .map((entries) => Object.fromEntries(entries));

/** Random catalogs: mostly valid, with some hostile values. */
export const catalogs: fc.Arbitrary<Catalog> = fc.record({
  instances: fc.array(anyInstance, { maxLength: 12 }),
  kv: values,
});

/** The problems of a text in Prometheus' exposition format 0.0.4, line by line. */
export function expositionProblems(text: string): string[] {
  const problems: string[] = [];
  const types = new Map<string, string>();
  const helped = new Set<string>();
  const seen = new Set<string>();
  let current = "";
  const name = "[a-zA-Z_:][a-zA-Z0-9_:]*";
  const label = `[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\[\\\\"n])*"`;
  const sample = new RegExp(
    `^(${name})(\\{(?:${label}(?:,${label})*)?\\})? (NaN|[+-]Inf|[+-]?[0-9.]+(?:e[+-]?[0-9]+)?)$`,
  );
  if (!text.endsWith("\n")) problems.push("the last line does not end");
  for (const line of text.split("\n").slice(0, -1)) {
    const [, kind, family, rest = ""] = new RegExp(`^# (HELP|TYPE) (${name}) (.*)$`).exec(line) ?? [];
    if (kind === "HELP" && family !== undefined) {
      if (helped.has(family)) problems.push(`${family} has two HELP lines`);
      helped.add(family);
    } else if (kind === "TYPE" && family !== undefined) {
      if (types.has(family)) problems.push(`${family} appears twice`);
      if (!/^(counter|gauge|histogram|summary|untyped)$/.test(rest)) problems.push(`${family} is a ${rest}`);
      if (!helped.has(family)) problems.push(`${family} has no HELP before its TYPE`);
      types.set(family, rest);
      current = family;
    } else {
      const [, metric = "", labels = ""] = sample.exec(line) ?? [];
      const suffixes = types.get(current) === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
      if (metric === "") problems.push(`not a sample: ${line}`);
      else if (!suffixes.some((suffix) => metric === current + suffix))
        problems.push(`${metric} stands under ${current}`);
      if (seen.has(metric + labels)) problems.push(`${metric}${labels} appears twice`);
      seen.add(metric + labels);
    }
  }
  for (const [family, type] of types)
    if (type === "counter" && family.startsWith("switchyard_") && !family.endsWith("_total"))
      problems.push(`the counter ${family} should end in _total`);
  return problems;
}
