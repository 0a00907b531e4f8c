import { expect, test } from "vitest";
import { describeRange, readReplicas, withoutSleep, writeRange, type ReplicaRange } from "./replicas";

test.each<[unknown, unknown]>([
  [3, 3],
  [0, 0],
  [
    { min: 2, max: 20, target: 30 },
    { min: 2, max: 20, targets: { concurrent: 30 } },
  ],
  [
    { max: 5, rate: 2.5 },
    { min: 1, max: 5, targets: { rate: 2.5 } },
  ],
  [
    { max: 5, cpu: "70%", target: 10 },
    { min: 1, max: 5, targets: { concurrent: 10, processor: 0.7 } },
  ],
  [
    { min: 0, max: 5, target: 10, idle: "5m" },
    { min: 0, max: 5, targets: { concurrent: 10 }, idleMs: 300_000 },
  ],
])("%j is a number or a range", (value, expected) => {
  expect(readReplicas(value)).toEqual({ ok: true, value: expected });
});

test.each<[unknown, string]>([
  [
    1.5,
    " is 1.5: it must be a whole number from 0 to 1000, or a range such as { min: 2, max: 20, target: 30 }",
  ],
  ["3", ' is "3": it must be a whole number'],
  [undefined, " is missing: it must be a whole number"],
  [
    { min: 2, max: 20 },
    " does not say what an instance handles: set target, rate or cpu, or a number instead",
  ],
  [{ min: 2, target: 30 }, "max is missing: it must be a whole number from 1 to 1000"],
  [{ min: 5, max: 2, target: 30 }, "max is 2, less than min, which is 5: raise max, or lower min"],
  [{ min: -1, max: 2, target: 30 }, "min is -1: it must be a whole number from 0 to 1000"],
  [{ max: 2, target: 0 }, "target is 0: it must be a whole number from 1 to 1000000"],
  [{ max: 2, rate: "5" }, 'rate is "5": it must be a number from 0.1 to 1000000'],
  [{ max: 2, cpu: 70 }, "cpu is 70: it must be a percentage from 1% to 100%, such as 70%"],
  [{ max: 2, cpu: "170%" }, 'cpu is "170%": it must be a percentage'],
  [
    { max: 2, targets: 3 },
    "targets is not known: remove it, or use one of min, max, target, rate, cpu, idle",
  ],
  [
    { min: 0, max: 2, target: 3 },
    "idle is missing, so the service would never sleep: set it, such as 5m, or raise min to 1",
  ],
  [{ min: 1, max: 2, target: 3, idle: "5m" }, "idle is set, but min is 1: set min to 0, or remove idle"],
  [{ min: 0, max: 2, target: 3, idle: "5s" }, 'idle is "5s": it must be a time from 10s to 24h, such as 5m'],
  [{ min: 0, max: 2, target: 3, idle: 300 }, "idle is 300: it must be a time"],
])("%j is rejected with its part and the cure", (value, message) => {
  const read = readReplicas(value);
  if (read.ok) throw new Error(`accepted: ${JSON.stringify(read.value)}`);
  const { path, problem, cure } = read.mistake;
  expect(`${path.join(".")} ${problem}: ${cure}`).toContain(message);
});

const full: ReplicaRange = {
  min: 0,
  max: 5,
  targets: { concurrent: 30, rate: 2.5, processor: 0.7 },
  idleMs: 90_000,
};

test("a range is written as it is read, and for people", () => {
  for (const range of [full, withoutSleep(full)])
    expect(readReplicas(writeRange(range))).toEqual({ ok: true, value: range });
  expect(describeRange(full)).toBe("0 to 5 (target 30, rate 2.5, cpu 70%, idle 90s)");
});

test("a range without sleep has at least one instance", () => {
  expect(withoutSleep(full)).toEqual({ min: 1, max: 5, targets: full.targets });
  expect(withoutSleep({ ...full, min: 3 })).toMatchObject({ min: 3 });
});
