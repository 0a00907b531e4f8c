/** When a service goes to sleep, and what wakes it. Only services with `min: 0` sleep. */
import type { ReplicaRange } from "../../../../routing/scaling/replicas";
import type { HorizontalRules } from "./rules";
import type { Decision, Observation, ServiceState } from "./types";

/** Since when there has been no request; undefined while there are any. */
export function idleSince(
  { idleSinceMs }: ServiceState,
  { nowMs, load, wanted }: Observation,
): number | undefined {
  const busy = wanted || load.concurrent > 0 || load.rate > 0;
  return busy ? undefined : (idleSinceMs ?? nowMs);
}

/**
 * The decision about a service that sleeps, or is to go to sleep; undefined for one that stays awake. A request wakes it past
 * every limit of pace. While a load balancer is silent, nothing goes to sleep: it may have requests.
 */
export function sleepingDecision(
  state: ServiceState,
  now: Observation,
  range: ReplicaRange,
  rules: HorizontalRules,
): Decision | undefined {
  if (range.min > 0) return undefined;
  const { nowMs, replicas, load } = now;
  const idleForMs = state.idleSinceMs === undefined ? undefined : nowMs - state.idleSinceMs;
  if (replicas === 0 && idleForMs !== undefined)
    return { kind: "keep", from: 0, to: 0, wish: 0, panic: false, basis: { kind: "asleep" }, limits: [] };
  if (replicas === 0) {
    const { concurrent: target } = range.targets;
    const wish = target === undefined ? 1 : Math.ceil(load.concurrent / (target * rules.utilisation) - 1e-9);
    const to = Math.min(range.max, Math.max(1, wish));
    const basis = { kind: "wanted", concurrent: load.concurrent, wish: to } as const;
    return { kind: "wake", from: 0, to, wish: to, panic: false, basis, limits: [] };
  }
  const { idleMs } = range;
  if (idleMs === undefined || idleForMs === undefined || idleForMs < idleMs || now.silent.length > 0)
    return undefined;
  const basis = { kind: "idle", forMs: idleForMs } as const;
  return { kind: "sleep", from: replicas, to: 0, wish: 0, panic: false, basis, limits: [] };
}
