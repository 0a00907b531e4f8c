/** The processor use of instances, as the leader has it. Pure. */
import type { Parsed } from "../../../../routing/grammar";
import type { TaskUsage, Usage } from "../../../../routing/scaling/usage";
import type { ProcessorUse } from "../horizontal/types";
import type { SwarmService } from "../swarm/types";

interface Entry {
  readonly usage: Usage;
  readonly newMs: number;
}

/** By node. */
export type UsageBoard = ReadonlyMap<string, Entry>;

/** Figures are ignored once they are this old. */
const oldMs = 12_000;

/** @param nowMs the time, by a clock that never goes back */
export function updateUsage(
  board: UsageBoard,
  values: ReadonlyMap<string, Parsed<Usage>>,
  nowMs: number,
): UsageBoard {
  const next = new Map<string, Entry>();
  for (const [node, value] of values) {
    const last = board.get(node);
    const isNew = value.ok && value.value.sequence !== last?.usage.sequence;
    if (isNew) next.set(node, { usage: value.value, newMs: nowMs });
    else if (last !== undefined) next.set(node, last);
  }
  return next;
}

/** When tasks were first seen to run. */
export type Seen = ReadonlyMap<string, number>;

/** The tasks that run now, with the time of their first sight. */
export function updateSeen(seen: Seen, services: readonly SwarmService[], nowMs: number): Seen {
  const running = services.flatMap(({ tasks }) => tasks).filter(({ state }) => state === "running");
  return new Map(running.map(({ id }) => [id, seen.get(id) ?? nowMs]));
}

/** The use of each instance that runs, as a share of its limit, or of one core. */
export function processorsOf(
  { tasks, cores: limit = 1 }: SwarmService,
  board: UsageBoard,
  seen: Seen,
  nowMs: number,
): ProcessorUse[] {
  const known = new Map<string, TaskUsage & { readonly newMs: number }>();
  for (const { usage, newMs } of board.values()) {
    if (nowMs - newMs >= oldMs) continue;
    for (const [task, use] of usage.tasks) known.set(task, { ...use, newMs });
  }
  return tasks
    .filter(({ state }) => state === "running")
    .map(({ id }) => {
      const use = known.get(id);
      return use === undefined
        ? { startedMs: seen.get(id) ?? nowMs, use: undefined }
        : { startedMs: use.newMs - use.ageSeconds * 1_000, use: use.cores / limit };
    });
}
