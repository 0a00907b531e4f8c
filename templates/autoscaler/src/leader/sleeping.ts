/** What has to happen around the sleep of a service, so that its URL stays. Pure. */
import type { Decision } from "../horizontal/types";

export interface Sleeper {
  readonly decision: Pick<Decision, "kind">;
  readonly replicas: number;
  readonly ready: number;
  /** The index at which its record was written, if there is one. */
  readonly record: number | undefined;
  /** An index by which the first of its instances that take requests was registered. */
  readonly served: number;
  readonly wanted: boolean;
  /** Whether anybody routes to it. */
  readonly isRouted: boolean;
}

export interface SleepSteps {
  /** Write its record. */
  readonly write: boolean;
  /** Whether its replicas may be changed in this tick. */
  readonly scale: boolean;
  /** Delete its record: instances have its routes again. */
  readonly forget: boolean;
  /** Delete what load balancers ask for: it has been done. */
  readonly answered: boolean;
}

/**
 * @param inForce the lowest of Consul's indexes that load balancers had in force at the tick before: an index may be in force
 *   a few milliseconds early, if two writes arrive in another order
 */
export function sleepSteps(sleeper: Sleeper, inForce: number): SleepSteps {
  const { decision, replicas, ready, record, served, wanted, isRouted } = sleeper;
  const sleeps = decision.kind === "sleep" || replicas === 0;
  const isAwake = !sleeps && ready > 0;
  const isKept = record !== undefined && inForce >= record;
  return {
    write: isRouted && sleeps && record === undefined,
    scale: decision.kind !== "sleep" || !isRouted || isKept,
    forget: record !== undefined && isAwake && inForce >= served,
    answered: wanted && isAwake,
  };
}
