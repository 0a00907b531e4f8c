import { expect, test } from "vitest";

import { encodeForeign, escapeInvisible, escapeLines } from "./text";

test.each([
  ["\u001b]0;owned\u0007", "\\u001b]0;owned\\u0007"],
  ["a\u009b31m", "a\\u009b31m"],
  ["\u202egnp.exe", "\\u202egnp.exe"],
  ["\u200f\u061c\u2066", "\\u200f\\u061c\\u2066"],
  ["a\u{e0041}", "a\\u{e0041}"],
  ["plain, äöü → 日本", "plain, äöü → 日本"],
])("%j is escaped", (text, shown) => {
  expect(escapeInvisible(text)).toBe(shown);
});

test("of a log, a terminal interprets nothing but line breaks", () => {
  const log = "\u001b[31mred\u001b[0m\r\n\tat x\u001b]0;owned\u0007\n\u202egnp\u009b2J 50 %\rdone\u001b";
  expect(escapeLines(log)).toBe("red\n  at x\n\\u202egnp 50 %\\u000ddone\\u001b");
});

test.each([
  ["a/b c", "a%2Fb%20c"],
  ["\ud83d", "%EF%BF%BD"],
  ["😀", "%F0%9F%98%80"],
])("%j is encoded", (text, encoded) => {
  expect(encodeForeign(text)).toBe(encoded);
});
