import fc from "fast-check";
import { expect, test } from "vitest";
import { range } from "../testing";
import { decide } from "./decide";
import { reasonSentence } from "./reasons";
import { tickMs } from "./rules";
import type { Decision, Observation, ServiceState } from "./types";

const within = range({ targets: { processor: 0.7 } });

interface Step {
  readonly second: number;
  readonly decision: Decision;
}

/** Instances that share some cores of work evenly, each of them at most one, from the moment they are asked for. */
function share(seconds: number, first: number, workAt: (second: number) => number): Step[] {
  const born: number[] = Array<number>(first).fill(-60_000);
  let state: ServiceState | undefined;
  const steps: Step[] = [];
  for (let nowMs = 0; nowMs < seconds * 1000; nowMs += tickMs) {
    const replicas = born.length;
    const use = Math.min(1, workAt(nowMs / 1000) / replicas);
    const processors = born.map((startedMs) => ({ startedMs, use }));
    const result = decide(state, observed(nowMs, replicas, processors), within);
    state = result.state;
    steps.push({ second: nowMs / 1000, decision: result.decision });
    const { to } = result.decision;
    while (born.length < to) born.push(nowMs);
    born.length = to;
  }
  return steps;
}

const observed = (
  nowMs: number,
  replicas: number,
  processors: Observation["processors"],
  ready = replicas,
): Observation => ({
  nowMs,
  replicas,
  ready,
  waiting: 0,
  silent: [],
  wanted: false,
  load: { concurrent: 0, rate: 0, errors: 0 },
  processors,
});

test("a step of four times settles close to what the work needs, without overshoot", () => {
  const steps = share(400, 4, (second) => (second < 100 ? 2 : 8));
  const reached = steps.find(({ decision }) => decision.to >= 11);
  expect(Math.max(...steps.map(({ decision }) => decision.to))).toBe(11);
  // The use of an instance is at most 1, so each step up is by 1 / 0.7 at most, after a window of 60 s.
  expect(reached?.second).toBeLessThan(250);
});

test("while the use of instances is not known, nothing scales down", () => {
  const rest = fc.record({
    known: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 9 }),
    unknown: fc.integer({ min: 1, max: 9 }),
  });
  fc.assert(
    fc.property(rest, ({ known, unknown }) => {
      const uses = [...known, ...Array<undefined>(unknown).fill(undefined)];
      const processors = uses.map((use) => ({ startedMs: -60_000, use }));
      let state: ServiceState | undefined;
      for (let nowMs = 0; nowMs < 500_000; nowMs += tickMs) {
        const result = decide(state, observed(nowMs, uses.length, processors), within);
        expect(result.decision.to).toBeGreaterThanOrEqual(uses.length);
        expect(reasonSentence(result.decision)).not.toMatch(/NaN|undefined|Infinity/);
        state = result.state;
      }
    }),
    { numRuns: 20 },
  );
});

test("the reason says how many send no figures", () => {
  const processors = [0.2, undefined, undefined].map((use) => ({ startedMs: -60_000, use }));
  const { decision } = decide(undefined, observed(0, 3, processors), within);
  expect(reasonSentence(decision)).toBe(
    "3 instances at 20 % of the processor, target 70 %: 1; none fewer while the use of 2 instances is not known",
  );
});
