/** Runs a trace through a contender, and measures what comes of it. */
import type { Scaler } from "./scale-scalers";
import { target, type Trace } from "./scale-traces";

/**
 * What a run has cost. The measure, stated before the first run:
 *
 * In each second, a service has `concurrent` requests, `ready` instances that take them, and `held` instances that exist,
 * including those that start. `concurrent / target - ready` instances are missing, if that is above 0: their requests are
 * over the target. The score is held instance-hours + 10 × missing instance-hours; lower is better. A missing instance
 * counts ten times, because users notice it, and an idle one only costs. With a factor of 1, having no instance at all would
 * always have the best score, since then each missing instance costs exactly as much as one that is held.
 */
export interface Outcome {
  /** Instance-hours that were held. */
  readonly held: number;
  /** Instance-hours that were missing for every request to be within the target. */
  readonly missing: number;
  /** The share of the requests that were over the target. */
  readonly over: number;
  /** How often the number of instances was changed. */
  readonly changes: number;
  /** How often it was changed in the other direction than the time before. */
  readonly reversals: number;
}

/** How much a missing instance counts, in held ones. */
export const missingWeight = 10;

/** The score; lower is better. */
export const score = ({ held, missing }: Outcome, weight = missingWeight): number => held + weight * missing;

/** Every contender first has this long at the trace's first value, which is not measured. */
const warmUpSeconds = 600;

export interface SimulatorOptions {
  /** Seconds from the decision until a new instance takes requests. */
  readonly startSeconds: number;
}

/** Runs a trace through a contender. */
export function simulate(trace: Trace, scaler: Scaler, { startSeconds }: SimulatorOptions): Outcome {
  const first = trace.concurrent[0] ?? 0;
  let replicas = Math.max(1, Math.ceil(first / (target * 0.7)));
  let ready = replicas;
  /** When instances that start will be ready, in order. */
  const starting: number[] = [];
  let missing = 0;
  let held = 0;
  let all = 0;
  let changes = 0;
  let reversals = 0;
  let direction = 0;
  for (let second = -warmUpSeconds; second < trace.concurrent.length; second++) {
    while ((starting[0] ?? Infinity) <= second) {
      starting.shift();
      ready++;
    }
    if (second % 2 === 0 || second % scaler.period === 0) {
      // The figures are those of the second before.
      const concurrent = trace.concurrent[second - 1] ?? first;
      const seen = { second, replicas, ready, concurrent };
      if (second % 2 === 0) scaler.observe?.(seen);
      if (second % scaler.period === 0) {
        const wanted = scaler.decide(seen);
        for (let count = replicas; count < wanted; count++) starting.push(second + startSeconds);
        // Docker removes those first that do not run yet.
        const unstarted = starting.splice(
          Math.max(0, starting.length - Math.max(0, replicas - wanted)),
        ).length;
        ready -= Math.max(0, replicas - wanted) - unstarted;
        if (wanted !== replicas && second >= 0) {
          changes++;
          if (direction * (wanted - replicas) < 0) reversals++;
          direction = Math.sign(wanted - replicas);
        }
        replicas = wanted;
      }
    }
    if (second < 0) continue;
    const concurrent = trace.concurrent[second] ?? 0;
    held += replicas;
    missing += Math.max(0, concurrent / target - ready);
    all += concurrent / target;
  }
  return { held: held / 3600, missing: missing / 3600, over: missing / all, changes, reversals };
}

/** The outcome of many traces as one. */
export function total(outcomes: readonly Outcome[], traces: readonly Trace[]): Outcome {
  const sum = (part: (outcome: Outcome) => number): number =>
    outcomes.reduce((all, each) => all + part(each), 0);
  const requests = traces.reduce(
    (all, { concurrent }) => all + concurrent.reduce((one, each) => one + each, 0) / target / 3600,
    0,
  );
  const missing = sum((outcome) => outcome.missing);
  return {
    missing,
    held: sum((outcome) => outcome.held),
    over: missing / requests,
    changes: sum(({ changes }) => changes),
    reversals: sum(({ reversals }) => reversals),
  };
}
