import fc from "fast-check";
import { expect, test } from "vitest";
import { readLabels, writeLabels, type Labels, type Scaling } from "./labels";
import { readAutoCpus, readAutoMemory } from "./resources";

const mebibyte = 1024 ** 2;

test("a service without labels of ours is not scaled", () => {
  expect(readLabels({ "com.example": "1", "switchyard.owner": "me" })).toEqual({ ok: true, value: {} });
});

test("limits are automatic within their bounds", () => {
  expect(
    readLabels({ "switchyard.memory": "auto", "switchyard.memory.max": "1g", "switchyard.cpus": "auto" }),
  ).toEqual({
    ok: true,
    value: { memory: { min: 16 * mebibyte, max: 1024 * mebibyte }, cpus: { min: 0.01, max: 1024 } },
  });
  expect(readAutoMemory({ min: "64m", max: "1g" })).toEqual({ ok: true, value: { min: 64 * mebibyte, max: 1024 * mebibyte } }); // prettier-ignore
  expect(readAutoCpus({ min: 0.5, max: 2 })).toEqual({ ok: true, value: { min: 0.5, max: 2 } });
  expect([readAutoMemory("64m"), readAutoCpus(0.5)]).toEqual([undefined, undefined]);
});

test.each<[Labels, string]>([
  [{ "switchyard.replicas": "3" }, "switchyard.replicas is not known: use switchyard.replicas.min"],
  [{ "switchyard.replicas.max": "3" }, "switchyard.replicas does not say what an instance handles"],
  [
    { "switchyard.replicas.max": "1e3", "switchyard.replicas.target": "1" },
    'switchyard.replicas.max is "1e3"',
  ],
  [{ "switchyard.replicas.maks": "3" }, "switchyard.replicas.maks is not known"],
  [{ "switchyard.memory": "64m" }, 'switchyard.memory is "64m": it must be auto'],
  [{ "switchyard.memory.min": "1m" }, 'switchyard.memory.min is "1m": it must be a size from 16m'],
  [{ "switchyard.cpus.min": "2", "switchyard.cpus.max": "1" }, "switchyard.cpus.max is 1, less than min"],
  [
    { "switchyard.cpus": "auto", "switchyard.replicas.max": "3", "switchyard.replicas.cpu": "70%" },
    "switchyard.cpus is automatic, but processor use also decides the number of instances",
  ],
])("%j is rejected with the label and the cure", (labels, message) => {
  const read = readLabels(labels);
  if (read.ok) throw new Error("accepted");
  const { path, problem, cure } = read.mistake;
  expect(`${path.join(".")} ${problem}: ${cure}`).toContain(message);
});

test("what is written is read again", () => {
  const limit = (step: number) =>
    fc.tuple(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 0, max: 100 })).map(([min, more]) => ({ min: min * step, max: (min + more) * step })); // prettier-ignore
  const scaling = fc.record(
    {
      replicas: fc
        .record({
          min: fc.integer({ min: 0, max: 9 }),
          more: fc.integer({ min: 1, max: 9 }),
          concurrent: fc.integer({ min: 1, max: 99 }),
          rate: fc.integer({ min: 1, max: 99 }),
        }) // prettier-ignore
        .map(({ min, more, ...targets }) => ({
          min,
          max: min + more,
          targets,
          ...(min === 0 && { idleMs: 90_000 }),
        })),
      memory: limit(16 * mebibyte),
      cpus: limit(0.25),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(scaling, (value: Scaling) => {
      expect(readLabels(writeLabels(value))).toEqual({ ok: true, value });
    }),
  );
});

test("an automatic limit without bounds, and a rate with many decimal places, are read again", () => {
  const [memory, cpus] = [readAutoMemory("auto"), readAutoCpus("auto")];
  if (memory?.ok !== true || cpus?.ok !== true) throw new Error("refused");
  const automatic: Scaling = { memory: memory.value, cpus: cpus.value };
  expect(readLabels(writeLabels(automatic))).toEqual({ ok: true, value: automatic });
  const fine: Scaling = {
    replicas: { min: 1, max: 9, targets: { rate: 1 / 3 } },
    cpus: { min: 0.29, max: 0.57 },
  };
  expect(readLabels(writeLabels(fine))).toEqual({ ok: true, value: fine });
});

test("hostile labels are read or rejected, and never throw", () => {
  const key = fc.oneof(fc.constantFrom("replicas.max", "replicas.target", "memory", "memory.min", "cpus.__proto__", "replicas.constructor"), fc.string()); // prettier-ignore
  fc.assert(
    fc.property(
      fc.dictionary(
        key.map((each) => `switchyard.${each}`),
        fc.string(),
      ),
      (labels) => {
        expect(typeof readLabels(labels).ok).toBe("boolean");
      },
    ),
    { numRuns: 500 },
  );
});
