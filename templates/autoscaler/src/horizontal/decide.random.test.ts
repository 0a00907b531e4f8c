import fc from "fast-check";
import { expect, test } from "vitest";
import type { ReplicaRange } from "../../../../routing/scaling/replicas";
import { broken, loads, ranges, run, type Run, type TickInput } from "../testing";
import { reasonSentence } from "./reasons";
import { defaultRules, tickMs } from "./rules";

/** Checks every tick of random runs. */
function always(
  isRight: (
    each: Run,
    index: number,
    runs: readonly Run[],
    inputs: readonly TickInput[],
    range: ReplicaRange,
  ) => boolean,
  firsts = fc.constant<number | undefined>(undefined),
): void {
  fc.assert(
    fc.property(loads(), ranges, firsts, (inputs, range, first) => {
      const runs = run(inputs, range, first === undefined ? {} : { first });
      expect(broken(runs, (each, index) => isRight(each, index, runs, inputs, range))).toEqual([]);
    }),
    { numRuns: 50 },
  );
}

test("never leaves the range, wherever it starts", () => {
  always(
    ({ decision: { to } }, _, __, ___, { min, max }) => to >= min && to <= max,
    fc.integer({ min: 0, max: 200 }),
  );
});

test("never changes direction twice within the window", () => {
  fc.assert(
    fc.property(loads(), ranges, (inputs, range) => {
      const moves = run(inputs, range).filter(({ decision: { from, to } }) => from !== to);
      const turns = moves.filter(
        ({ decision }, at) => at > 0 && decision.kind !== moves[at - 1]?.decision.kind,
      );
      // Up after down has no delay. Down after up has to wait for the whole window.
      const early = turns.filter((turn) => {
        const before = moves[moves.indexOf(turn) - 1];
        return turn.decision.kind === "down" && turn.nowMs - (before?.nowMs ?? 0) < defaultRules.downWindowMs;
      });
      expect(early).toEqual([]);
    }),
    { numRuns: 50 },
  );
});

test("never scales down while figures are silent", () => {
  always(({ decision: { from, to } }, index, _, inputs) => inputs[index]?.silent !== true || to >= from);
});

test("never exceeds the pace in either direction, but up in a burst", () => {
  const { up, down } = defaultRules;
  always(({ decision: { kind, to, panic } }, index, runs) => {
    const since = (windowMs: number) =>
      runs.slice(Math.max(0, index + 1 - Math.floor(windowMs / tickMs)), index + 1);
    const start = Math.max(
      ...since(up.perMs + tickMs)
        .slice(0, 1)
        .map(({ decision: { from } }) => from),
    );
    if (kind === "up") return panic || to <= Math.max(start + up.count, start * (1 + up.share));
    const highest = Math.max(...since(down.perMs).map(({ decision: { from } }) => from));
    return kind !== "down" || to >= highest - Math.max(down.count, Math.floor(highest * down.share));
  });
});

test("never scales up while tasks wait for room", () => {
  always(({ decision: { kind } }, index, _, inputs) => (inputs[index]?.waiting ?? 0) === 0 || kind !== "up");
});

test("every decision has a reason that names its numbers, and what kept it from the wish", () => {
  always(({ decision }, _, __, ___, { targets }) => {
    const text = reasonSentence(decision);
    const { basis, limits, to } = decision;
    const load = basis.kind === "close" ? basis.of : basis;
    const asked = basis.kind === "close" ? basis.wish : load.kind === "load" && load.wish;
    return (
      load.kind === "load" &&
      /^[\d.]+ concurrent, target /.test(text) &&
      text.includes(`target ${targets.concurrent ?? ""} at 70 %: ${load.wish}`) &&
      (to === asked || limits.length > 0) &&
      !/NaN|undefined|Infinity/.test(text)
    );
  });
});
