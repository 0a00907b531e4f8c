/** Which load balancers the stack has. Pure. */
import type { Board } from "./board";

/** When each was last seen. */
export type Members = ReadonlyMap<string, number>;

/** One that is gone may only be out of Consul's sight: until then it is silent, and nothing scales down. */
export const goneMs = 300_000;

const freshMs = 10_000;

/**
 * Those that are registered on a living node, or write figures there.
 *
 * @param writers the nodes whose figures are in the KV store
 * @param nowMs the time, by a clock that never goes back
 */
export function updateMembers(
  members: Members,
  { alive, balancers }: { readonly alive: ReadonlySet<string>; readonly balancers: ReadonlySet<string> },
  writers: Iterable<string>,
  board: Board,
  nowMs: number,
): Members {
  const isFresh = (node: string): boolean => {
    const entry = board.get(node);
    return entry === undefined || nowMs - entry.newMs < freshMs;
  };
  const next = new Map([...members].filter(([, seenMs]) => nowMs - seenMs < goneMs));
  for (const node of balancers) next.set(node, nowMs);
  for (const node of writers) if (alive.has(node) && isFresh(node)) next.set(node, nowMs);
  return next;
}

/** What stands for load balancers if there is none: without any, it is not known whether there are requests. */
export const nobody = "every load balancer";

/** The lowest of Consul's indexes that load balancers have in force; 0 if one has not told. */
export const lowestIndex = (board: Board): number =>
  Math.min(...[...board.values()].map(({ figures }) => figures?.index ?? 0));
