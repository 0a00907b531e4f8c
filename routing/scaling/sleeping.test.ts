import { expect, test } from "vitest";
import { encodeSleeping, parseSleeping } from "./sleeping";

test("what is written is read again", () => {
  const record = { tags: ["rest"], meta: { host: "api.example.com" } };
  expect(parseSleeping(encodeSleeping(record))).toEqual({ ok: true, value: record });
});

test.each([
  ["{", "is not JSON"],
  ["[]", "is not a mapping"],
  ["{}", "has tags"],
  ['{"tags":[1],"meta":{}}', "has tags"],
  ['{"tags":[]}', "has a meta"],
  ['{"tags":[],"meta":{"a":1}}', "has a meta"],
  [`"${"x".repeat(20_000)}"`, "has more than 16384 characters"],
])("%j is refused", (value, error) => {
  const parsed = parseSleeping(value);
  expect(parsed.ok ? "accepted" : parsed.error).toContain(error);
});
