import { expect, test } from "vitest";
import type { ReplicaRange } from "../../../../routing/scaling/replicas";
import { range } from "../testing";
import { decide } from "./decide";
import { reasonSentence } from "./reasons";
import { tickMs } from "./rules";
import type { Decision, ServiceState } from "./types";

interface Applied {
  readonly second: number;
  readonly decision: Decision;
}

/** Runs ticks whose decisions come into force as `apply` has it. */
function watch(
  seconds: number,
  first: number,
  concurrentAt: (second: number) => number,
  apply: (decided: number, second: number, replicas: number) => number,
  within: ReplicaRange = range(),
): Applied[] {
  let state: ServiceState | undefined;
  let replicas = first;
  const steps: Applied[] = [];
  for (let nowMs = 0; nowMs < seconds * 1000; nowMs += tickMs) {
    const second = nowMs / 1000;
    const concurrent = concurrentAt(second);
    const load = { concurrent, rate: concurrent, errors: 0 };
    const observation = { nowMs, replicas, ready: replicas, waiting: 0, silent: [], processors: [], load };
    const wanted = replicas === 0 && concurrent > 0;
    const result = decide(state, { ...observation, wanted }, within);
    state = result.state;
    steps.push({ second, decision: result.decision });
    replicas = apply(result.decision.to, second, replicas);
  }
  return steps;
}

const countsFrom = (steps: readonly Applied[], second: number): number[] =>
  steps.filter((each) => each.second >= second).map(({ decision }) => decision.to);

test("a decision that fails is made again as it was, and takes no part in the pace", () => {
  const steps = watch(130, 3, (second) => (second < 100 ? 60 : 600), (decided, second, replicas) => (second < 110 ? replicas : decided)); // prettier-ignore
  expect(countsFrom(steps, 100)).toEqual([16, 29, 29, 29, 29, 29, 29, 29, 29, 29, 29, 29, 29, 29, 29]);
});

test("instances that somebody adds by hand stay for a minute", () => {
  const steps = watch(1000, 3, () => 60, (decided, second) => (second === 500 ? 10 : decided)); // prettier-ignore
  const downs = steps.filter(({ decision }) => decision.kind === "down");
  expect(downs[0]).toMatchObject({ second: 562, decision: { from: 10, to: 5 } });
  const kept = steps.find(({ second }) => second === 520)?.decision;
  expect(kept && reasonSentence(kept)).toContain("none fewer for 42 s, until the load with 10 is known");
});

test("what a service woke with stays for a minute", () => {
  const sleepy = range({ min: 0, idleMs: 600_000 });
  const steps = watch(500, 0, (second) => (second < 100 ? 0 : second < 102 ? 22 : 1), (decided) => decided, sleepy); // prettier-ignore
  const moves = steps.filter(({ decision: { from, to } }) => from !== to);
  expect(moves[0]).toMatchObject({ second: 100, decision: { kind: "wake", to: 2 } });
  expect(moves[1]).toMatchObject({ second: 162, decision: { kind: "down", to: 1 } });
});
