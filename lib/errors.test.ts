import { expect, it } from "vitest";
import { messageOf } from "./errors";

it.each<[string, unknown, string]>([
  ["an error", new Error(" no such file\n"), "no such file"],
  ["a system error without a message", Object.assign(new Error(), { code: "ECONNREFUSED" }), "ECONNREFUSED"],
  ["an error without anything", new TypeError(), "TypeError"],
  ["something else", "text", "text"],
])("describes %s", (_, thrown, expected) => {
  expect(messageOf(thrown)).toBe(expected);
});
