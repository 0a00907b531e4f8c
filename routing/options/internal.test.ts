import { expect, test } from "vitest";
import { read } from "../testing";
import { internal } from "./internal";

test.each([
  [{ internal: "true" }, true],
  [{ internal: "0" }, false],
  [{}, undefined],
])("%j is read", (meta, value) => {
  expect(read(internal, meta)).toBe(value);
});

test("rejects anything else", () => {
  expect(read(internal, { internal: "lan" })).toContain("which is neither true nor false");
});

test("requests from outside get what a path without a service gets", () => {
  const context = { lookUp: () => "", prefix: "", outside: "{ src 192.0.2.1 }" };
  const lines = internal.profile?.variants["internal"]?.(context);
  expect(lines).toEqual([
    expect.stringMatching(/ status 404 .*"No service has this path\."}' .* if \{ src 192\.0\.2\.1 \}$/),
  ]);
});
