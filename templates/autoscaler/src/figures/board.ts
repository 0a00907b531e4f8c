/** The figures of all load balancers, as the autoscaler has them. Pure. */
import type { Parsed } from "../../../../routing/grammar";
import type { Figures } from "../../../../routing/scaling/figures";
import type { Load } from "../horizontal/types";

export interface Entry {
  readonly figures: Figures | undefined;
  /** When figures last came that were new, by the autoscaler's own clock: those of other nodes may differ. */
  readonly newMs: number;
  /** Why the last value was refused, if it was. */
  readonly problem?: string;
}

/** By load balancer. */
export type Board = ReadonlyMap<string, Entry>;

/**
 * The board after a look at Consul's KV.
 *
 * @param values what each load balancer of the stack has written, parsed; undefined for one that has written nothing. Those
 *   that are not in it have left the stack, and their figures go with them.
 * @param nowMs the time, by a clock that never goes back
 */
export function updateBoard(
  board: Board,
  values: ReadonlyMap<string, Parsed<Figures> | undefined>,
  nowMs: number,
): Board {
  const next = new Map<string, Entry>();
  for (const [balancer, value] of values) {
    const last: Entry = board.get(balancer) ?? { figures: undefined, newMs: nowMs };
    if (value === undefined) next.set(balancer, { figures: last.figures, newMs: last.newMs });
    else if (!value.ok) next.set(balancer, { ...last, problem: value.error });
    else if (value.value.sequence === last.figures?.sequence)
      next.set(balancer, { figures: last.figures, newMs: last.newMs });
    else next.set(balancer, { figures: value.value, newMs: nowMs });
  }
  return next;
}

/** The load balancers without new figures for `silentMs` or longer, or without any yet, sorted. */
export const silentOn = (board: Board, nowMs: number, silentMs: number): string[] =>
  [...board]
    .filter(([, { figures, newMs }]) => figures === undefined || nowMs - newMs >= silentMs)
    .map(([balancer]) => balancer)
    .sort();

/** The load of each service that has any: the sum over all load balancers, with the last figures of those that are silent. */
export function loadsOn(board: Board): ReadonlyMap<string, Load> {
  const loads = new Map<string, { concurrent: number; rate: number; errors: number }>();
  for (const { figures } of board.values())
    for (const [service, { concurrent, queued, held, rate, errors }] of figures?.services ?? []) {
      const sum = loads.get(service) ?? { concurrent: 0, rate: 0, errors: 0 };
      sum.concurrent += concurrent + queued + held;
      sum.rate += rate;
      sum.errors += errors;
      loads.set(service, sum);
    }
  return loads;
}

/** No load at all: of a service that no load balancer tells of. */
export const noLoad: Load = { concurrent: 0, rate: 0, errors: 0 };
