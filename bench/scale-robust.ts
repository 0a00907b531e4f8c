/** Whether our rules are better than the references by merit or by chance: on traces that no rule was chosen by. */
import { defaultRules, type HorizontalRules } from "../templates/autoscaler/src/horizontal/rules";
import { table } from "./lib";
import { heldOutTraces } from "./scale-held-out";
import { hpa, kpa } from "./scale-references";
import { switchyard, type Scaler } from "./scale-scalers";
import { score, simulate } from "./scale-simulator";

const traces = heldOutTraces(30);
const starts = [2, 5, 10, 20, 30, 60];
const aims = [0.6, 0.7, 0.77, 0.85];
const usualStart = 10;
const usualAim = 0.7;

/** As Kubernetes' HPA scales down: nothing below what the last 300 s asked for, and slowly. Never in force. */
export const calmRules: HorizontalRules = {
  ...defaultRules,
  down: { count: 1, share: 0.25, perMs: 60_000 },
  downWindowMs: 300_000,
};

const ours: readonly (readonly [name: string, rules: HorizontalRules])[] = [
  ["Switchyard", defaultRules],
  ["Switchyard, calm", calmRules],
];

const scores = (make: () => Scaler, startSeconds: number): number[] =>
  traces.map((trace) => score(simulate(trace, make(), { startSeconds })));

/** On how many traces each of ours is better than both references, in the order of `ours`. All aim for the same share. */
function wins(startSeconds: number, utilisation: number): string[] {
  const references = [() => hpa({ utilisation }), () => kpa({ utilisation })].map((make) =>
    scores(make, startSeconds),
  );
  return ours.map(([, rules]) => {
    const own = scores(() => switchyard({ ...rules, utilisation }), startSeconds);
    return String(
      own.filter((each, index) => references.every((other) => each < (other[index] ?? 0))).length,
    );
  });
}

const grid = (head: string, heads: readonly string[], columns: readonly string[][]): string =>
  table(
    [head, ...heads],
    ours.map(([name], index) => [name, ...columns.map((column) => column[index] ?? "")]),
  );

/** How often ours are better than both references, by the time that instances take to start and by what all aim for. */
export function robustness(): string {
  const byStart = starts.map((start) => wins(start, usualAim));
  const byAim = aims.map((aim) => wins(usualStart, aim));
  return `On how many of ${traces.length} other traces of three hours, put together at random by [scale-held-out.ts](scale-held-out.ts), ours are better than
both references. No rule was chosen by these traces. By the time that instances take to start:

${grid("instances start in", starts.map((start) => `${start} s`), byStart)}

By the share of the target that all of them aim for:

${grid("everybody aims for", aims.map((aim) => `${Math.round(aim * 100)} %`), byAim)}`; // prettier-ignore
}
