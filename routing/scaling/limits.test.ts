import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeLimits, parseLimits, readChosen, writeChosen } from "./limits";

const id = "9mnpnzenvg8p8tdbtq4wvbkcz";
const mebibyte = 1024 ** 2;

test("are a line for each service", () => {
  expect(encodeLimits(new Map([[id, { memoryBytes: 134_217_728 }]]))).toBe(
    `switchyard-limits 1\n${id} 134217728 -`,
  );
});

test("what is written is read again", () => {
  const chosen = fc.record(
    {
      memoryBytes: fc.integer({ min: 1, max: 1e12 }),
      cores: fc.integer({ min: 0, max: 1e5 }).map((each) => each / 100),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.dictionary(fc.stringMatching(/^[a-z0-9]{25}$/), chosen), (given) => {
      const limits = new Map(Object.entries(given));
      const read = parseLimits(encodeLimits(limits));
      expect(read.ok && new Map(read.value)).toEqual(limits);
    }),
  );
});

test.each([
  ["", "starts with"],
  ["switchyard-limits 2", "starts with"],
  [`switchyard-limits 1\n${id}`, "has the line"],
  [`switchyard-limits 1\n${id} 0 -`, "has the line"],
  [`switchyard-limits 1\n${id} 1e9 -`, "has the line"],
  [`switchyard-limits 1\n${id} - -1`, "has the line"],
  [`switchyard-limits 1\nx - -`, "has the line"],
  [`switchyard-limits 1\n${id} - -\n${id} - -`, "twice"],
  ["x".repeat(600_000), "has more than"],
])("%.50j is refused", (value, error) => {
  const parsed = parseLimits(value);
  expect(parsed.ok ? "accepted" : parsed.error).toContain(error);
});

test("a service's labels say what is chosen, within its bounds", () => {
  const chosen = { memoryBytes: 128 * mebibyte, cores: 0.5 };
  const auto = { memory: { min: 64 * mebibyte, max: 256 * mebibyte }, cpus: { min: 0.1, max: 2 } };
  expect(writeChosen(chosen)).toEqual({
    "switchyard.limits.memory": "134217728",
    "switchyard.limits.cpus": "0.5",
  });
  expect(readChosen(writeChosen(chosen), auto)).toEqual(chosen);
  expect(readChosen(writeChosen(chosen), { cpus: { min: 1, max: 2 } })).toEqual({ cores: 1 });
  expect(readChosen({ "switchyard.limits.memory": "-1", "switchyard.limits.cpus": "much" }, auto)).toEqual(
    {},
  );
  expect(readChosen({}, auto)).toEqual({});
});
