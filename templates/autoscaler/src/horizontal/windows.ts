/** Sliding windows. Immutable: each addition returns a new window, so that a tick can be computed and discarded. */

interface Sample {
  readonly atMs: number;
  readonly value: number;
}

/** Samples in order of time, none older than the longest window in use. */
export type Samples = readonly Sample[];

/** Adds a sample, and drops those that are `keepMs` old or older. */
export function addSample(samples: Samples, atMs: number, value: number, keepMs: number): Samples {
  const first = samples.findIndex((each) => each.atMs > atMs - keepMs);
  return first < 0 ? [{ atMs, value }] : [...samples.slice(first), { atMs, value }];
}

/** The mean of the samples that are less than `windowMs` old; undefined if there are none. */
export function meanOf(samples: Samples, nowMs: number, windowMs: number): number | undefined {
  let total = 0;
  let count = 0;
  for (let index = samples.length - 1; index >= 0; index--) {
    const sample = samples[index];
    if (sample === undefined || sample.atMs <= nowMs - windowMs) break;
    total += sample.value;
    count++;
  }
  return count === 0 ? undefined : total / count;
}

/** The values that are or will be the highest of a window, falling. The first is the highest now. */
export type Peaks = readonly Sample[];

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
