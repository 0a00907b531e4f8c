/**
 * Histograms that forget: a sample of a day ago counts half as much as one of now. Buckets grow by 5 %, so that a percentile is
 * right to about 5 % at any size. As in Kubernetes' Vertical Pod Autoscaler.
 */
import { isMapping } from "../../../../lib/values";
import { ok, refuse, type Parsed } from "../../../../routing/grammar";

export interface HistogramShape {
  /** The size of the first bucket, in the unit of the samples. */
  readonly first: number;
}

const ratio = 1.05;
const buckets = 176;

/** From 0.01 core to more than 1,000. */
export const processorShape: HistogramShape = { first: 0.01 };
/** From 10 MB to more than 1 TB, in bytes. */
export const memoryShape: HistogramShape = { first: 10e6 };

export const halfLifeMs = 24 * 3_600_000;

/** Weights are relative to this many half-lives at most, so that they stay far from the largest number. */
const mostHalfLives = 100;

/** Weights by bucket. Those that are not in it are 0. */
export interface Histogram {
  /** The time at which a sample has the weight 1, in milliseconds. */
  readonly referenceMs: number;
  readonly weights: ReadonlyMap<number, number>;
}

export const emptyHistogram = (nowMs: number): Histogram => ({ referenceMs: nowMs, weights: new Map() });

/** The bucket that a value falls into. */
export function bucketOf(value: number, { first }: HistogramShape): number {
  if (!(value >= first)) return 0;
  const index = Math.floor(Math.log((value * (ratio - 1)) / first + 1) / Math.log(ratio));
  return Math.min(buckets - 1, index);
}

/** Where a bucket ends, which is where the next one starts. */
export const endOf = (bucket: number, { first }: HistogramShape): number =>
  (first * (ratio ** (bucket + 1) - 1)) / (ratio - 1);

/**
 * Adds a sample.
 *
 * @param weight before it fades. Default: 1. Below 0, it takes away a sample that was added with the same value and time.
 */
export function addValue(
  histogram: Histogram,
  shape: HistogramShape,
  value: number,
  atMs: number,
  weight = 1,
): Histogram {
  const { referenceMs, weights } = rebase(histogram, atMs);
  const bucket = bucketOf(value, shape);
  const next = (weights.get(bucket) ?? 0) + weight * 2 ** ((atMs - referenceMs) / halfLifeMs);
  const changed = new Map(weights);
  if (next > 1e-9) changed.set(bucket, next);
  else changed.delete(bucket);
  return { referenceMs, weights: changed };
}

/** The same histogram with a later reference, if the weights would become too large otherwise. */
function rebase(histogram: Histogram, atMs: number): Histogram {
  const halfLives = (atMs - histogram.referenceMs) / halfLifeMs;
  if (halfLives < mostHalfLives) return histogram;
  const weights = [...histogram.weights].map(
    ([bucket, weight]) => [bucket, weight * 2 ** -halfLives] as const,
  );
  return { referenceMs: atMs, weights: new Map(weights.filter(([, weight]) => weight > 1e-9)) };
}

/** The end of the bucket below which this share of the weight lies; undefined for an empty histogram. */
export function percentile({ weights }: Histogram, shape: HistogramShape, share: number): number | undefined {
  const sorted = [...weights].sort(([a], [b]) => a - b);
  const total = sorted.reduce((sum, [, weight]) => sum + weight, 0);
  let below = 0;
  for (const [bucket, weight] of sorted) {
    below += weight;
    if (below >= total * share - 1e-12 * total) return endOf(bucket, shape);
  }
  return undefined;
}

/** A histogram as JSON: weights in 10,000ths of the highest, and the highest itself. */
export interface StoredHistogram {
  readonly at: number;
  readonly top: number;
  /** Bucket, weight, bucket, weight … */
  readonly w: readonly number[];
}

const steps = 10_000;

/** Weights below a 20,000th of the highest are lost. */
export function storeHistogram({ referenceMs, weights }: Histogram): StoredHistogram {
  const top = Math.max(0, ...weights.values());
  const w = [...weights]
    .map(([bucket, weight]) => [bucket, Math.round((weight / top) * steps)] as const)
    .filter(([, weight]) => weight > 0)
    .sort(([a], [b]) => a - b)
    .flat();
  return { at: referenceMs, top, w };
}

/** Reads what {@link storeHistogram} wrote, or what somebody else did. */
export function readHistogram(value: unknown): Parsed<Histogram> {
  if (!isMapping(value)) return refuse("is not a histogram");
  const { at, top, w } = value;
  const isNumber = (each: unknown): each is number => typeof each === "number" && Number.isFinite(each);
  if (!isNumber(at) || !isNumber(top) || top < 0 || !Array.isArray(w) || w.length % 2 !== 0)
    return refuse("is not a histogram");
  const weights = new Map<number, number>();
  for (let index = 0; index < w.length; index += 2) {
    const [bucket, weight] = w.slice(index, index + 2) as unknown[];
    if (!isWhole(bucket, 0, buckets - 1) || !isWhole(weight, 1, steps) || weights.has(bucket))
      return refuse("has a bucket or a weight that cannot be");
    weights.set(bucket, (weight / steps) * top);
  }
  return ok({ referenceMs: at, weights });
}

const isWhole = (value: unknown, min: number, max: number): value is number =>
  Number.isInteger(value) && Number(value) >= min && Number(value) <= max;
