/** Shared by tests. */
import fc from "fast-check";
import type { ReplicaRange } from "../../../routing/scaling/replicas";
import { decide } from "./horizontal/decide";
import { defaultRules, tickMs, type HorizontalRules } from "./horizontal/rules";
import type { Decision, Observation, ServiceState } from "./horizontal/types";

/** What happens in one tick; the rest follows from the decisions before. */
export interface TickInput {
  readonly concurrent: number;
  readonly errors?: number;
  readonly rate?: number;
  readonly silent?: boolean;
  readonly waiting?: number;
  readonly wanted?: boolean;
  /** Processor use of each instance, all of them long started. */
  readonly use?: number;
}

export const range = (more: Partial<ReplicaRange> = {}): ReplicaRange => ({
  min: 1,
  max: 100,
  targets: { concurrent: 30 },
  ...more,
});

export interface Run {
  readonly decision: Decision;
  readonly nowMs: number;
}

interface RunOptions {
  readonly first?: number;
  readonly startTicks?: number;
  readonly rules?: HorizontalRules;
}

/** Runs ticks one after the other. Instances take `startTicks` to be ready; default: 3. */
export function run(
  inputs: readonly TickInput[],
  within: ReplicaRange,
  { first = Math.max(1, within.min), startTicks = 3, rules = defaultRules }: RunOptions = {},
): Run[] {
  let state: ServiceState | undefined;
  const counts = [first];
  return inputs.map((input, index) => {
    const replicas = counts.at(-1) ?? first;
    const ready = Math.min(replicas, ...counts.slice(-1 - startTicks));
    const observation: Observation = {
      nowMs: index * tickMs,
      replicas,
      ready,
      waiting: input.waiting ?? 0,
      wanted: input.wanted ?? false,
      silent: input.silent === true ? ["n1"] : [],
      load: { concurrent: input.concurrent, rate: input.rate ?? 0, errors: input.errors ?? 0 },
      processors:
        input.use === undefined
          ? []
          : Array.from({ length: replicas }, () => ({ startedMs: -60_000, use: input.use ?? 0 })),
    };
    const result = decide(state, observation, within, rules);
    state = result.state;
    counts.push(result.decision.to);
    return { decision: result.decision, nowMs: observation.nowMs };
  });
}

/** The decisions that break a rule, as text. One comparison for a whole run, because each costs more than a tick. */
export const broken = (runs: readonly Run[], isRight: (run: Run, index: number) => boolean): string[] =>
  runs.flatMap((each, index) =>
    isRight(each, index) ? [] : [`tick ${index}: ${JSON.stringify(each.decision)}`],
  );

/** The same input for some seconds. */
export const during = (seconds: number, input: TickInput): TickInput[] =>
  Array.from({ length: (seconds * 1000) / tickMs }, () => input);

/** Load in pieces that last from a tick to four minutes, as real load does; each piece is up to `most` requests. */
export const loads = (most = 3_000): fc.Arbitrary<TickInput[]> =>
  fc
    .array(
      fc.record({
        ticks: fc.integer({ min: 1, max: 120 }),
        concurrent: fc.integer({ min: 0, max: most }),
        silent: fc.boolean(),
        waiting: fc.constantFrom(0, 0, 0, 2),
      }),
      { minLength: 1, maxLength: 12 },
    )
    .map((pieces) =>
      pieces.flatMap(({ ticks, ...input }) => Array.from({ length: ticks }, (): TickInput => input)),
    );

/** Ranges whose services stay awake. */
export const ranges: fc.Arbitrary<ReplicaRange> = fc
  .record({
    min: fc.integer({ min: 1, max: 20 }),
    more: fc.integer({ min: 0, max: 100 }),
    target: fc.integer({ min: 1, max: 100 }),
  })
  .map(({ min, more, target }) => ({ min, max: min + more, targets: { concurrent: target } }));
