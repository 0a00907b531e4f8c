import { expect, test } from "vitest";
import { read } from "../testing";
import { restorePrefix } from "./restore-prefix";

test.each([
  ["true", true],
  ["0", false],
])("accepts %s", (value, parsed) => {
  expect(read(restorePrefix, { restore_prefix: value })).toBe(parsed);
});

test("is off by default, and then nothing is rendered", () => {
  expect(read(restorePrefix, {})).toBeUndefined();
  expect(restorePrefix.backendLines?.(false, "http")).toEqual([]);
});

test("rejects anything else", () => {
  expect(read(restorePrefix, { restore_prefix: "maybe" })).toContain("which is neither true nor false");
});

/** Does what HAProxy's `replace-header` lines do. */
function replaced(header: string, value: string, prefix: string): string {
  return (restorePrefix.backendLines?.(true, "http") ?? []).reduce((before, line) => {
    const [, of, pattern, put] = /replace-header (\S+) '(.*)' '(.*)' if/.exec(line) ?? [];
    if (of !== header || pattern === undefined || put === undefined) return before;
    return before.replace(
      new RegExp(pattern),
      put.replace("%[var(txn.prefix)]", prefix).replace(/\\(\d)/g, "$$$1"),
    );
  }, value);
}

test.each([
  ["/login", "/site/login"],
  ["/", "/site/"],
  ["/?a=/b||c", "/site/?a=/b||c"],
  ["/site", "/site"],
  ["/site?x", "/site?x"],
  ["/site/site/x", "/site/site/x"],
  ["/sitemap", "/site/sitemap"],
  ["http://shop.test", "http://shop.test/site"],
  ["https://shop.test:8443/a b", "https://shop.test:8443/site/a b"],
  ["https://shop.test/site/x", "https://shop.test/site/x"],
])("Location: %s becomes %s", (value, expected) => {
  expect(replaced("Location", value, "/site")).toBe(expected);
});

test.each([
  ["a=1; Path=/", "a=1; Path=/site/"],
  ["a=1; HttpOnly; path=/x; Secure", "a=1; HttpOnly; path=/site/x; Secure"],
  ["a=/b||c;PATH=/q; Secure", "a=/b||c;PATH=/site/q; Secure"],
  ["a=1; Path=/site; Secure", "a=1; Path=/site; Secure"],
  ["a=1; Path=/site/x", "a=1; Path=/site/x"],
  ["a=1; Path=/sitemap", "a=1; Path=/site/sitemap"],
  ["a=1; Secure", "a=1; Secure"],
])("Set-Cookie: %s becomes %s", (value, expected) => {
  expect(replaced("Set-Cookie", value, "/site")).toBe(expected);
});
