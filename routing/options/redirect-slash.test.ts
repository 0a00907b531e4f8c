import { expect, test } from "vitest";
import { read } from "../testing";
import { redirectSlash } from "./redirect-slash";

test.each([
  ["true", true],
  ["0", false],
])("accepts %s", (value, parsed) => {
  expect(read(redirectSlash, { redirect_slash: value })).toBe(parsed);
});

test("is off by default, and then nothing is rendered", () => {
  expect(read(redirectSlash, {})).toBeUndefined();
  expect(redirectSlash.backendLines?.(false, "http")).toEqual([]);
});

test("rejects anything else", () => {
  expect(read(redirectSlash, { redirect_slash: "always" })).toContain("which is neither true nor false");
});

test("redirects only what can be repeated without harm", () => {
  expect(redirectSlash.backendLines?.(true, "http")).toEqual([
    expect.stringMatching(/^http-request redirect code 308 .* if \{ method GET HEAD \} /),
  ]);
});
