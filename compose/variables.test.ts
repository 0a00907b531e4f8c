import { expect, it } from "vitest";

import { Hidden } from "./hidden";
import { interpolate, readVariables, type Scope } from "./variables";

const scopeOf = (env: Record<string, string>): Scope => ({ env, hidden: new Hidden(), unset: new Set() });

it.each([
  ["$A ${A} ${A:-x} ${B:-x} ${B-x} ${C-x} ${C:-x} ${A:+y} ${C:+y} $$A", "1 1 1 x x  x y  $A"],
  ["${B:-${A}}", "1"],
  ["${B:-${D:-{${E:-${A}}}}}", "{1}"],
])("fills in %s", (text, filled) => {
  const scope = scopeOf({ A: "1", C: "" });
  expect(interpolate(text, scope)).toBe(filled);
  expect([...scope.unset]).toEqual([]);
});

it("notes what is not set", () => {
  const scope = scopeOf({ A: "1" });
  expect(interpolate("$A$B${C}${D:-}", scope)).toBe("1");
  expect([...scope.unset]).toEqual(["B", "C"]);
});

it("needs a variable that must be set", () => {
  expect(() => interpolate("${B:?no password}", scopeOf({}))).toThrow(
    "The variable B is not set (no password)",
  );
});

/** Variables of a file, and the lines that are none. */
function read(text: string, env: Record<string, string> = {}) {
  const mistakes: number[] = [];
  const scope = scopeOf(env);
  const found = readVariables(text, scope, (line) => mistakes.push(line));
  return { found, mistakes, unset: [...scope.unset] };
}

it.each<[string, Record<string, string>]>([
  [`# a comment\nexport A=1\r\nB="x y"\n C = '# z' \nD=a#b # c`, { A: "1", B: "x y", C: "# z", D: "a#b" }],
  [`A="x y" # c\nB='x' # c\nC= # c\nD=\nE=x`, { A: "x y", B: "x", C: "", D: "", E: "x" }],
  ["A=1\nB=${A}/z\nC=\"$A $$A \\$A\"\nD='$A'", { A: "1", B: "1/z", C: "1 $A $A", D: "$A" }],
  ["discovery.type=single-node\nx-y: 1", { "discovery.type": "single-node", "x-y": "1" }],
  [`K="-----BEGIN\nab#c\n-----END\n" # pem\nB=1`, { K: "-----BEGIN\nab#c\n-----END\n", B: "1" }],
  [String.raw`A="a\nb\t\\n\"q\" \d"`, { A: 'a\nb\t\\n"q" \\d' }],
  [String.raw`A='it\'s \n'`, { A: String.raw`it's \n` }],
  ["URL=http://x/#a?b='c'", { URL: "http://x/#a?b='c'" }],
  ["", {}],
])("reads a file of variables: %j", (text, found) => {
  expect(read(text)).toEqual({ found, mistakes: [], unset: [] });
});

it("takes names without a value from the environment, and what it has first", () => {
  expect(read("FROM_ENV\nGONE\nB=$A\nA=2\n", { FROM_ENV: "x", A: "1" })).toEqual({
    found: { FROM_ENV: "x", B: "1", A: "2" },
    mistakes: [],
    unset: ["GONE"],
  });
});

it("names lines that are no variables", () => {
  expect(read(`A=1\n? x\n\nB="open\nC="x" y\nD=2`)).toMatchObject({
    found: { A: "1", D: "2" },
    mistakes: [2, 4, 5],
  });
});
