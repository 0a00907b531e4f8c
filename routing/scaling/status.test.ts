import fc from "fast-check";
import { expect, test } from "vitest";
import { describeLimits } from "./limits-status";
import { encodeStatus, parseStatus, type ScalingStatus } from "./status";

const at = "2026-11-29T09:00:00.000Z";
const service = {
  name: "hello/v1",
  swarmName: "hello-v1",
  min: 0,
  max: 9,
  replicas: 2,
  ready: 1,
  wish: 3,
  reason: "42 concurrent, target 21 at 70 %: 3",
  asleep: false,
  waiting: 1,
  changes: [{ at, from: 1, to: 2, reason: "30 concurrent, target 21 at 70 %: 2" }],
};
const mebibyte = 1024 ** 2;
const limits = {
  name: "hello/v1",
  swarmName: "hello-v1",
  memory: { current: 128 * mebibyte, target: 96 * mebibyte, lower: 80 * mebibyte, upper: 140 * mebibyte, auto: false },
  cpus: { target: 0.5, lower: 0.25, upper: 1024, auto: true },
  reason: "less than a day of history",
}; // prettier-ignore
const status: ScalingStatus = {
  node: "n1",
  dry: false,
  at,
  services: [service],
  limits: [limits],
  jobs: [{ name: "report", swarmName: "report", schedule: "0 3 * * *", runs: [] }],
  nodesWanted: 1,
};

test("what is written is read again", () => {
  expect(parseStatus(encodeStatus(status))).toEqual({ ok: true, value: status });
  const troubled = { ...status, services: [{ ...service, problem: "has no labels" }] };
  expect(parseStatus(encodeStatus(troubled))).toEqual({ ok: true, value: troubled });
});

test("limits and jobs may be left out", () => {
  const without = { ...status, limits: undefined, jobs: undefined };
  expect(parseStatus(JSON.stringify(without))).toEqual({
    ok: true,
    value: { ...status, limits: [], jobs: [] },
  });
});

test("limits are described", () => {
  expect(describeLimits(limits)).toEqual([
    "memory 128 MiB, recommended 96 MiB (80 MiB to 140 MiB)",
    "cpus auto, without a limit, recommended 0.5 (0.25 to 1024)",
  ]);
  expect(describeLimits({ name: "a", swarmName: "a" })).toEqual([]);
});

test("long texts are cut", () => {
  const long = { ...status, services: [{ ...service, problem: "x".repeat(2_000) }] };
  const read = parseStatus(encodeStatus(long));
  expect(read.ok && read.value.services[0]?.problem).toHaveLength(1_000);
});

test.each([
  ["{", "is not JSON"],
  ["[]", "is not a mapping"],
  [JSON.stringify({ ...status, at: "today" }), "has no node, dry, at or nodesWanted"],
  [JSON.stringify({ ...status, services: {} }), "has no list"],
  [JSON.stringify({ ...status, services: [{ ...service, name: "../x" }] }), "whose form is wrong"],
  [JSON.stringify({ ...status, services: [{ ...service, max: -1 }] }), "whose form is wrong"],
  [JSON.stringify({ ...status, services: [{ ...service, changes: [{ at }] }] }), "whose form is wrong"],
  [JSON.stringify({ ...status, limits: {} }), "has no list of limits"],
  [
    JSON.stringify({ ...status, limits: [{ ...limits, memory: { target: -1 } }] }),
    "has limits whose form is wrong",
  ],
  [JSON.stringify({ ...status, limits: [{ ...limits, name: "../x" }] }), "has limits whose form is wrong"],
  [JSON.stringify("x".repeat(600_000)), "has more than"],
])("%.60s is refused", (value, error) => {
  const parsed = parseStatus(value);
  expect(parsed.ok ? "accepted" : parsed.error).toContain(error);
});

test("one that somebody spoilt is refused, or written as it was read", () => {
  const spoilt = fc
    .tuple(fc.constantFrom(...Object.keys(service), ...Object.keys(limits)), fc.jsonValue())
    .map(([key, value]) =>
      JSON.stringify({
        ...status,
        services: [{ ...service, [key]: value }],
        limits: [{ ...limits, [key]: value }],
      }),
    );
  fc.assert(
    fc.property(spoilt, (text) => {
      const read = parseStatus(text);
      if (read.ok) expect(parseStatus(encodeStatus(read.value))).toEqual(read);
    }),
  );
});
