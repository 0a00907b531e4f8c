/** What instances use, as the leader has it. Pure. */
import type { Parsed } from "../../../../routing/grammar";
import type { TaskUsage, Usage } from "../../../../routing/scaling/usage";
import type { ProcessorUse } from "../horizontal/types";
import type { SwarmService } from "../swarm/types";
import type { InstanceUse } from "../vertical/usage";

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

const freshOn = (board: UsageBoard, nowMs: number): Entry[] =>
  [...board.values()].filter(({ newMs }) => nowMs - newMs < oldMs);

/** What instances use now, by the ID of their service and by task; without those whose memory is not known. */
export function usesOn(
  board: UsageBoard,
  nowMs: number,
): ReadonlyMap<string, ReadonlyMap<string, InstanceUse>> {
  const uses = new Map<string, Map<string, InstanceUse>>();
  for (const { usage } of freshOn(board, nowMs))
    for (const [task, { service, cores, memoryBytes }] of usage.tasks) {
      if (memoryBytes === undefined) continue;
      const ofService = uses.get(service) ?? new Map<string, InstanceUse>();
      uses.set(service, ofService.set(task, { cores, memoryBytes }));
    }
  return uses;
}

/** By the ID of the service: the highest limit of an instance that ran out of memory in the last minute. */
export function outOfMemoryOn(board: UsageBoard, nowMs: number): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const { usage } of freshOn(board, nowMs))
    for (const [service, bytes] of usage.outOfMemory)
      found.set(service, Math.max(bytes, found.get(service) ?? 0));
  return found;
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
  for (const { usage, newMs } of freshOn(board, nowMs))
    for (const [task, use] of usage.tasks) known.set(task, { ...use, newMs });
  return tasks
    .filter(({ state }) => state === "running")
    .map(({ id }) => {
      const use = known.get(id);
      return use === undefined
        ? { startedMs: seen.get(id) ?? nowMs, use: undefined }
        : { startedMs: use.newMs - use.ageSeconds * 1_000, use: use.cores / limit };
    });
}
