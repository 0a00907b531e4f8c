import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  backendName,
  parseAddress,
  parseDnsName,
  parseBoolean,
  parseDuration,
  parseHealthPath,
  parseHost,
  parseInteger,
  parseNetwork,
  parsePath,
  parseServiceName,
  parseVersion,
  serverName,
  show,
  type Parsed,
} from "./grammar";

const hostile = [
  "",
  " ",
  "a b",
  "a\nb",
  "a\r\nserver x 1.2.3.4:80",
  "a;b",
  "a|b",
  "a#b",
  'a"b',
  "a'b",
  "a\\b",
  "a$b",
  "${HOME}",
  "a%b",
  "a{b}",
  "a,b",
  "ä",
  "a\u0000",
  "a\u2028b",
];

function cases<T>(
  name: string,
  parse: (value: string) => Parsed<T>,
  good: readonly string[],
  bad: readonly string[],
) {
  describe(name, () => {
    test.each(good)("accepts %j", (value) => {
      expect(parse(value).ok).toBe(true);
    });
    test.each([...bad])("rejects %j", (value) => {
      expect(parse(value).ok).toBe(false);
    });
  });
}

cases(
  "service names",
  parseServiceName,
  ["hello", "hello/v1", "a/b/c", "_x", "a.b-c_d", "a".repeat(63)],
  [...hostile, "/a", "a/", "a//b", "a/../b", ".", "..", "-a", "a:b", "a".repeat(64), "a/".repeat(110) + "a"],
);
cases(
  "hosts",
  parseHost,
  ["a", "api.example.com", "a-b.c"],
  [...hostile, "A.example.com", "a.", ".a", "a:80", "-a", "*.*.a", "*a.b", "a.*"],
);
cases(
  "paths",
  parsePath,
  ["/", "/a", "/a/b.c", "/~user"],
  [...hostile, "a", "/a/", "//", "/a//b", "/../a", "/a?b"],
);
cases(
  "health paths",
  parseHealthPath,
  ["/", "/health", "/a/b?c=d&e=%20f"],
  ["", "health", "/a b", "/a\nb", "/a#b", '/a"b', "/a\\b", "/a$b", "/a{b", "/a;b", "/a'b"],
);
cases(
  "networks",
  parseNetwork,
  ["10.0.0.0/8", "192.0.2.7", "0.0.0.0/0", "::1", "2001:db8::/32"],
  [...hostile, "", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/8/8", "10.0.0/8", "fe80::1%eth0", "any"],
);
cases(
  "addresses",
  parseAddress,
  ["10.0.0.1", "127.0.0.1", "::1", "fe80::1", "2001:db8:0:1:2:3:4:5"],
  [
    ...hostile,
    "0.0.0.0",
    "::",
    "0:0::",
    "example.com",
    "10.0.0.256",
    "01.2.3.4",
    "1:2",
    ":::",
    "fe80::1%eth0",
    "1::2::3",
  ],
);
cases(
  "names in DNS",
  parseDnsName,
  ["db.example.com", "DB.Example.com", "db-1.internal", "1.2.3.x4", "xn--bcher-kva.example"],
  [
    ...hostile,
    "db",
    "localhost",
    "db.example.com.",
    ".example.com",
    "10.0.0.256",
    "1.2.3",
    "a_b.org",
    "*.example.com",
    "db.example.com:80",
    "https://db.example.com",
    "-a.org",
    `${"a".repeat(64)}.org`,
    `${"a.".repeat(130)}org`,
  ],
);
cases(
  "durations",
  parseDuration,
  ["1", "5000", "5s", "2m", "24h"],
  [...hostile, "0", "25h", "-1", "1.5s", "5 s", "5d"],
);
cases("booleans", parseBoolean, ["true", "false", "0", "1"], [...hostile, "yes", "TRUE"]);
cases(
  "numbers",
  (value) => parseInteger(value, 1, 100),
  ["1", "100"],
  [...hostile, "0", "101", "1e1", "0x1", "+1", "01"],
);

test("a version is a number at the end of a name", () => {
  expect(parseVersion("hello/v10")).toEqual({ base: "hello", number: 10 });
  expect(parseVersion("a/b/v0")).toEqual({ base: "a/b", number: 0 });
  for (const name of ["hello", "v1", "hello/v", "hello/v01", "hello/v1x", "hello/V1", "hello/v1/x"])
    expect(parseVersion(name)).toBeUndefined();
});

const anything = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string(),
  fc.stringMatching(/^[a-z/.:_-]{1,12}$/),
);

test("no accepted value contains a character that is special to HAProxy", () => {
  fc.assert(
    fc.property(anything, (value) => {
      if (parseServiceName(value).ok) expect(backendName(value)).toMatch(/^svc:[A-Za-z0-9_.:-]+$/);
      if (parsePath(value).ok) expect(value).toMatch(/^\/[A-Za-z0-9_.~/-]*$/);
      if (parseHost(value).ok) expect(value).toMatch(/^(\*\.)?[a-z0-9.-]+$/);
      if (parseAddress(value).ok) expect(serverName(value, 80)).toMatch(/^[A-Za-z0-9_.:-]+$/);
    }),
    { numRuns: 2_000 },
  );
});

test("no two services share a backend name", () => {
  const name = fc.stringMatching(/^[a-z/._-]{1,8}$/).filter((value) => parseServiceName(value).ok);
  fc.assert(
    fc.property(name, name, (a, b) => {
      fc.pre(a !== b);
      expect(backendName(a)).not.toBe(backendName(b));
    }),
  );
});

test("a user's value is shown on one line of limited length", () => {
  fc.assert(
    fc.property(anything, (value) => {
      expect(show(value)).not.toMatch(/[\p{Cc}\p{Cf}\u2028\u2029]/u);
      expect(show(value).length).toBeLessThan(520);
    }),
  );
});
