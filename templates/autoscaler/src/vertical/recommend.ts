/** How much memory and processor an instance of a service should have. */
import { showLimit, type AutoLimit, type LimitKind } from "../../../../routing/scaling/resources";
import { memoryShape, percentile, processorShape, type Histogram, type HistogramShape } from "./histogram";
import type { Usage } from "./usage";

/** A recommended limit, in cores or bytes. */
export interface Recommendation {
  readonly target: number;
  /** A limit between these is left alone at first. They are far apart while there is little history. */
  readonly lower: number;
  readonly upper: number;
  /** Days of history, by time or by samples, whichever is less. */
  readonly confidenceDays: number;
}

const percentiles = { target: 0.9, lower: 0.5, upper: 0.95 } as const;
/** A limit stays so far above what is in use. */
export const margin = 1.15;
const minutesPerDay = 24 * 60;
const dayMs = minutesPerDay * 60_000;

/** The recommended cores of an instance; undefined without history. */
export const recommendCores = (usage: Usage, bounds: AutoLimit, nowMs: number): Recommendation | undefined =>
  recommend(usage.processor, processorShape, usage, bounds, 0, nowMs);

/**
 * The recommended memory of an instance in bytes; undefined without history.
 *
 * @param usedBytes the most that an instance uses now: every limit stays at least 15 % above it
 */
export const recommendMemory = (
  usage: Usage,
  bounds: AutoLimit,
  usedBytes: number,
  nowMs: number,
): Recommendation | undefined =>
  recommend(usage.memory, memoryShape, usage, bounds, usedBytes * margin, nowMs);

function recommend(
  histogram: Histogram,
  shape: HistogramShape,
  { sinceMs, minutes }: Usage,
  { min, max }: AutoLimit,
  least: number,
  nowMs: number,
): Recommendation | undefined {
  const at = (share: number): number | undefined => percentile(histogram, shape, share);
  const [target, lower, upper] = [at(percentiles.target), at(percentiles.lower), at(percentiles.upper)];
  if (target === undefined || lower === undefined || upper === undefined) return undefined;
  const confidenceDays = Math.max(
    1 / minutesPerDay,
    Math.min((nowMs - sinceMs) / dayMs, minutes / minutesPerDay),
  );
  // What is in use now comes before the bounds: less memory than that would end the instance.
  const limit = (value: number): number => Math.max(least, Math.min(max, Math.max(min, value)));
  return {
    target: limit(target * margin),
    // As in Kubernetes' Vertical Pod Autoscaler. After a day, `lower` is 0.2 % below its percentile, and `upper` twice its own.
    lower: limit(lower * margin * (1 + 0.001 / confidenceDays) ** -2),
    upper: limit(upper * margin * (1 + 1 / confidenceDays)),
    confidenceDays,
  };
}

/** What to do about a limit, and why. */
export interface LimitChange {
  readonly from: number | undefined;
  readonly to: number;
  readonly why: "none yet" | "too low" | "too high" | "drifted" | "out of memory";
}

const driftShare = 0.1;
const driftMs = 12 * 3_600_000;

/**
 * The change to make: at once if the limit is below `lower` or above `upper`; from 12 h after the last change also if it is over
 * 10 % off. Undefined if it can stay.
 *
 * @param current the limit in force; undefined if there is none
 * @param changedMs when it was last changed, or when the autoscaler first saw it
 */
export function changeOf(
  current: number | undefined,
  { target, lower, upper }: Recommendation,
  changedMs: number,
  nowMs: number,
): LimitChange | undefined {
  if (current === undefined) return { from: current, to: target, why: "none yet" };
  if (current < lower) return { from: current, to: target, why: "too low" };
  if (current > upper) return { from: current, to: target, why: "too high" };
  const off = Math.abs(target - current) > current * driftShare;
  return off && nowMs - changedMs >= driftMs ? { from: current, to: target, why: "drifted" } : undefined;
}

const reasons: Readonly<Record<LimitChange["why"], string>> = {
  "none yet": "there was no limit",
  "too low": "the limit was below what instances need",
  "too high": "the limit was far above what instances need",
  drifted: "the limit was over 10 % off, 12 h or more after its last change",
  "out of memory": "an instance ran out of memory",
};

/** `memory 128 MiB instead of 64 MiB: the limit was below what instances need`. */
export function changeSentence(kind: LimitKind, { from, to, why }: LimitChange): string {
  const instead = from === undefined ? "" : ` instead of ${showLimit(kind, from)}`;
  return `${kind} ${showLimit(kind, to)}${instead}: ${reasons[why]}`;
}
