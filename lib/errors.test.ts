import { expect, it } from "vitest";
import { messageOf, reportOf, UserError } from "./errors";

it.each<[string, unknown, string]>([
  ["an error", new Error(" no such file\n"), "no such file"],
  ["a system error without a message", Object.assign(new Error(), { code: "ECONNREFUSED" }), "ECONNREFUSED"],
  ["an error without anything", new TypeError(), "TypeError"],
  ["something else", "text", "text"],
])("describes %s", (_, thrown, expected) => {
  expect(messageOf(thrown)).toBe(expected);
});

it("reports a user's mistake by its message, and a bug by its stack trace", () => {
  expect(reportOf(new UserError("`size` is odd"))).toBe("error: `size` is odd");
  expect(reportOf(Object.assign(new Error("of Pulumi"), { hideStack: true }))).toBe("error: of Pulumi");
  expect(reportOf(new TypeError("oops"))).toMatch(/^error: TypeError: oops\n +at /);
  expect(reportOf("text")).toBe("error: text");
});

it("a user's mistake has no stack trace, which Pulumi would format at great cost", () => {
  expect(new UserError("`size` is odd").stack).toBeUndefined();
});
