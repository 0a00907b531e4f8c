/** Sliding windows. Immutable: each addition returns a new window, so that a tick can be computed and discarded. */

/** The figures of one tick. */
export interface Sample {
  readonly atMs: number;
  /** Concurrent requests. */
  readonly concurrent: number;
  /** Requests per second. */
  readonly rate: number;
  /** Failed requests per second. */
  readonly errors: number;
  /** Processor use of all instances together; undefined if it is not known. */
  readonly processor: number | undefined;
}

/** Samples in order of time, none older than the longest window in use. */
export type Samples = readonly Sample[];

/** Adds a sample, and drops those that are `keepMs` old or older. */
export function addSample(samples: Samples, sample: Sample, keepMs: number): Samples {
  const oldestMs = sample.atMs - keepMs;
  let first = 0;
  while (first < samples.length && (samples[first]?.atMs ?? 0) <= oldestMs) first++;
  const next = samples.slice(first);
  next.push(sample);
  return next;
}

/** The means of a window. Those without a sample are undefined. */
export interface Means {
  readonly concurrent: number | undefined;
  readonly rate: number | undefined;
  readonly errors: number | undefined;
  readonly processor: number | undefined;
}

/** The means of the samples that are less than `windowMs` old. */
export function meansOf(samples: Samples, nowMs: number, windowMs: number): Means {
  let [count, concurrent, rate, errors, processors, processor] = [0, 0, 0, 0, 0, 0];
  for (let index = samples.length - 1; index >= 0; index--) {
    const sample = samples[index];
    if (sample === undefined || sample.atMs <= nowMs - windowMs) break;
    count++;
    concurrent += sample.concurrent;
    rate += sample.rate;
    errors += sample.errors;
    if (sample.processor === undefined) continue;
    processors++;
    processor += sample.processor;
  }
  const mean = (sum: number, of: number): number | undefined => (of === 0 ? undefined : sum / of);
  return {
    concurrent: mean(concurrent, count),
    rate: mean(rate, count),
    errors: mean(errors, count),
    processor: mean(processor, processors),
  };
}

interface Peak {
  readonly atMs: number;
  readonly value: number;
}

/** The values that are or will be the highest of a window, falling. The first is the highest now. */
export type Peaks = readonly Peak[];

/** Adds a value, and drops those that are `windowMs` old or older, or can never be the highest again. */
export function addPeak(peaks: Peaks, atMs: number, value: number, windowMs: number): Peaks {
  const live = peaks.filter((each) => each.atMs > atMs - windowMs && each.value > value);
  return [...live, { atMs, value }];
}

/** The highest value in the window. */
export const highest = (peaks: Peaks): number | undefined => peaks[0]?.value;

/** By how much something changed, and when. */
export interface Change {
  readonly atMs: number;
  /** Above 0 when instances were added, below when removed. */
  readonly by: number;
}

/** The sum of the changes in one direction, as a positive number, that are less than `windowMs` old. */
export const changed = (
  changes: readonly Change[],
  direction: 1 | -1,
  nowMs: number,
  windowMs: number,
): number =>
  changes.reduce(
    (sum, { atMs, by }) => (atMs > nowMs - windowMs && by * direction > 0 ? sum + by * direction : sum),
    0,
  );
