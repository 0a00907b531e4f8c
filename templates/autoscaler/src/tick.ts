/** One tick of the autoscaler: the decisions for all services. Pure. */
import type { ReplicaRange } from "../../../routing/scaling/replicas";
import { loadsOn, noLoad, silentOn, type Board } from "./figures/board";
import { decide } from "./horizontal/decide";
import { defaultRules, type HorizontalRules } from "./horizontal/rules";
import type { Decision, Observation, ServiceState } from "./horizontal/types";

/** A Swarm service that is to be scaled, as Docker has it now. */
export interface ScaledService extends Pick<
  Observation,
  "replicas" | "ready" | "waiting" | "processors" | "wanted"
> {
  /** Its name in Consul, by which load balancers tell of it: `hello/v1`. */
  readonly name: string;
  readonly range: ReplicaRange;
}

/** What is remembered between ticks, by service. */
export type States = ReadonlyMap<string, ServiceState>;

/**
 * Decides for every service. Services that are gone are forgotten.
 *
 * @param nowMs the time, by a clock that never goes back
 */
export function tick(
  states: States,
  services: readonly ScaledService[],
  board: Board,
  nowMs: number,
  rules: HorizontalRules = defaultRules,
): { readonly states: States; readonly decisions: ReadonlyMap<string, Decision> } {
  const loads = loadsOn(board);
  const silent = silentOn(board, nowMs, rules.silentMs);
  const next = new Map<string, ServiceState>();
  const decisions = new Map<string, Decision>();
  for (const { name, range, ...rest } of services) {
    const observation = { ...rest, nowMs, silent, load: loads.get(name) ?? noLoad };
    const { state, decision } = decide(states.get(name), observation, range, rules);
    next.set(name, state);
    decisions.set(name, decision);
  }
  return { states: next, decisions };
}
