import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeUsage, parseUsage } from "./usage";

const [task, service] = ["7gx4bbkqqdlk3uhfmuc1wq8mh", "9mnpnzenvg8p8tdbtq4wvbkcz"];

test("are a line for each task, and for each service that ran out of memory", () => {
  const tasks = new Map([
    [task, { service, ageSeconds: 34.6, cores: 0.48249, memoryBytes: 104_857_600.4 }],
    ["other", { service, ageSeconds: 1, cores: 0 }],
  ]);
  expect(encodeUsage({ sequence: 17, tasks, outOfMemory: new Map([[service, 67_108_864]]) })).toBe(
    `switchyard-usage 2 17\n${task} ${service} 35 0.482 104857600\nother ${service} 1 0 -\noom ${service} 67108864`,
  );
});

test("what is written is read again", () => {
  const id = fc.stringMatching(/^[a-z0-9]{25}$/);
  const use = fc.record(
    {
      service: id,
      ageSeconds: fc.nat(1e9),
      cores: fc.integer({ min: 0, max: 99_999 }).map((each) => each / 1_000),
      memoryBytes: fc.nat(1e12),
    },
    { requiredKeys: ["service", "ageSeconds", "cores"] },
  );
  const entries = <T>(value: fc.Arbitrary<T>) =>
    fc.dictionary(id, value).map((each) => new Map(Object.entries(each)));
  const usages = fc.record({ sequence: fc.nat(), tasks: entries(use), outOfMemory: entries(fc.nat(1e12)) });
  fc.assert(
    fc.property(usages, (usage) => {
      expect(parseUsage(encodeUsage(usage))).toEqual({ ok: true, value: usage });
    }),
  );
});

test.each([
  ["", "starts with"],
  ["switchyard-usage 1 1", "starts with"],
  ["switchyard-usage 2 1\n", "has the line"],
  ["switchyard-usage 2 1\na 1", "has the line"],
  ["switchyard-usage 2 1\na b -1 0 0", "has the line"],
  ["switchyard-usage 2 1\na b 1 1e3 0", "has the line"],
  ["switchyard-usage 2 1\na b 1 0 1.5", "has the line"],
  ["switchyard-usage 2 1\na b 1 0 0\na c 1 0 0", 'tells of "a" twice'],
  ["switchyard-usage 2 1\noom b -", "has the line"],
  ["switchyard-usage 2 1\noom b 1\noom b 1", 'tells twice that "b" ran out of memory'],
  ["x".repeat(600_000), "has more than"],
])("%.40j is refused", (value, error) => {
  const parsed = parseUsage(value);
  expect(parsed.ok ? "accepted" : parsed.error).toContain(error);
});
