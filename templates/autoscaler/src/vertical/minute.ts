/** What instances have used since the last sample, until it becomes the next one. Pure. */
import type { InstanceUse } from "./usage";

interface Sum {
  readonly cores: number;
  readonly count: number;
  readonly memoryBytes: number;
}

/** By task. */
export type Minute = ReadonlyMap<string, Sum>;

export function addToMinute(minute: Minute, uses: ReadonlyMap<string, InstanceUse>): Minute {
  const next = new Map(minute);
  for (const [task, { cores, memoryBytes }] of uses) {
    const sum = next.get(task) ?? { cores: 0, count: 0, memoryBytes: 0 };
    next.set(task, {
      cores: sum.cores + cores,
      count: sum.count + 1,
      memoryBytes: Math.max(sum.memoryBytes, memoryBytes),
    });
  }
  return next;
}

/** The mean of processor use and the peak of memory of each instance. */
export const samplesOf = (minute: Minute): InstanceUse[] =>
  [...minute.values()].map(({ cores, count, memoryBytes }) => ({ cores: cores / count, memoryBytes }));
