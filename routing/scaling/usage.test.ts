import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeUsage, parseUsage } from "./usage";

test("are a line for each task", () => {
  const tasks = new Map([["7gx4bbkqqdlk3uhfmuc1wq8mh", { ageSeconds: 34.6, cores: 0.48249 }]]);
  expect(encodeUsage({ sequence: 17, tasks })).toBe(
    "switchyard-usage 1 17\n7gx4bbkqqdlk3uhfmuc1wq8mh 35 0.482",
  );
});

test("what is written is read again", () => {
  const use = fc.record({
    ageSeconds: fc.nat(1e9),
    cores: fc.integer({ min: 0, max: 99_999 }).map((each) => each / 1_000),
  });
  fc.assert(
    fc.property(fc.dictionary(fc.stringMatching(/^[a-z0-9]{25}$/), use), fc.nat(), (given, sequence) => {
      const usage = { sequence, tasks: new Map(Object.entries(given)) };
      expect(parseUsage(encodeUsage(usage))).toEqual({ ok: true, value: usage });
    }),
  );
});

test.each([
  ["", "starts with"],
  ["switchyard-usage 2 1", "starts with"],
  ["switchyard-usage 1 1\n", "has the line"],
  ["switchyard-usage 1 1\na 1", "has the line"],
  ["switchyard-usage 1 1\na -1 0", "has the line"],
  ["switchyard-usage 1 1\na 1 1e3", "has the line"],
  ["switchyard-usage 1 1\na 1 0\na 1 0", 'tells of "a" twice'],
  ["x".repeat(600_000), "has more than"],
])("%.40j is refused", (value, error) => {
  const parsed = parseUsage(value);
  expect(parsed.ok ? "accepted" : parsed.error).toContain(error);
});
