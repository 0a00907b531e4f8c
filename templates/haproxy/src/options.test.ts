import { expect, test } from "vitest";
import { parseArguments } from "./options";

const parse = (...argv: string[]) => parseArguments(argv, {}, 2);

test.each([
  [[], { dry: false, once: false, redirectHttps: false }],
  [["--dry"], { dry: true, once: false }],
  [["--dry", "--once"], { dry: true, once: true }],
  [["--dry=false"], { dry: false }],
  [["--dry=true", "--once=false"], { dry: true, once: false }],
  [["--redirect-https=false"], { redirectHttps: false }],
  [["--certs=/certs", "--redirect-https"], { certs: "/certs", redirectHttps: true }],
])("%j", (argv, expected) => {
  expect(parse(...argv)).toMatchObject(expected);
});

test.each([
  [["--once"], "--once says how often --dry prints: use --dry --once."],
  [["--dry=false", "--once"], "use --dry --once"],
  [["--dry=maybe"], '--dry="maybe" is neither true nor false.'],
  [["--redirect-https"], "--redirect-https needs --certs=DIR"],
  [["--evil\u001b"], '"--evil\\u001b" is not an option.'],
])("%j is refused", (argv, why) => {
  expect(() => parse(...argv)).toThrow(why);
});
