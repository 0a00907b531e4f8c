/** The processor use of a service, from that of its instances. */
import type { HorizontalRules } from "./rules";
import type { Observation } from "./types";

export interface ProcessorTotal {
  /**
   * The use of all instances together, as if each took as much as those that count: instances that start take their share of
   * the requests at once, though their own use says nothing yet. Undefined if none counts.
   */
  readonly use: number | undefined;
  /** How many instances `use` is about. */
  readonly instances: number;
  /** How many should count but send no figures. */
  readonly unknown: number;
}

export function processorTotal(now: Observation, { startMs }: HorizontalRules): ProcessorTotal {
  let [known, unknown, sum] = [0, 0, 0];
  for (const { startedMs, use } of now.processors) {
    if (now.nowMs - startedMs < startMs) continue;
    if (use === undefined) unknown++;
    else {
      known++;
      sum += use;
    }
  }
  const instances = Math.max(now.ready, known + unknown);
  return { use: known === 0 ? undefined : (sum / known) * instances, instances, unknown };
}
