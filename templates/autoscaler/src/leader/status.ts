/** The status that the leader writes. Pure. */
import { compare } from "../../../../lib/text";
import { parseServiceName } from "../../../../routing/grammar";
import type { JobStatus } from "../../../../routing/jobs/status";
import type { LimitsStatus } from "../../../../routing/scaling/limits-status";
import type { ScaledServiceStatus, ScalingStatus } from "../../../../routing/scaling/status";
import { reasonSentence } from "../horizontal/reasons";
import type { Decision } from "../horizontal/types";
import type { History } from "./history";
import type { Observations } from "./observe";

export interface Told {
  readonly node: string;
  readonly dry: boolean;
  readonly at: Date;
  readonly observations: Observations;
  readonly decisions: ReadonlyMap<string, Decision>;
  /** The services whose number of replicas this tick has changed. */
  readonly changed: ReadonlySet<string>;
  readonly limits: readonly LimitsStatus[];
  readonly jobs: readonly JobStatus[];
  readonly nodesWanted: number;
}

export function statusOf(told: Told, history: History): ScalingStatus {
  const { observations, decisions, changed, limits, jobs, node, dry, at, nodesWanted } = told;
  const scaled = observations.scaled.flatMap(({ name, range, swarm, ...now }): ScaledServiceStatus[] => {
    const decision = decisions.get(name);
    if (decision === undefined) return [];
    const problem = history.failure(name);
    const replicas = changed.has(name) ? decision.to : now.replicas;
    return [
      {
        name,
        swarmName: swarm.swarmName,
        min: range.min,
        max: range.max,
        replicas,
        ready: now.ready,
        wish: decision.wish,
        reason: reasonSentence(decision),
        asleep: replicas === 0,
        waiting: now.waiting,
        changes: history.of(name),
        ...(problem !== undefined && { problem }),
      },
    ];
  });
  const names = new Set(scaled.map(({ name }) => name));
  const unscaled = observations.unscaled
    .filter(({ name }) => !names.has(name) && isTellable(name))
    .map(({ name, swarm, problem }): ScaledServiceStatus => {
      const { swarmName, replicas, running } = swarm;
      const counts = { min: 0, max: 0, replicas, ready: running, wish: replicas, waiting: 0 };
      return { name, swarmName, ...counts, reason: "not scaled", asleep: false, changes: [], problem };
    });
  return {
    node,
    dry,
    at: at.toISOString(),
    services: [...scaled, ...unscaled].sort((a, b) => compare(a.name, b.name)),
    limits,
    jobs,
    nodesWanted,
  };
}

/** Readers refuse a status with a name that is none. */
const isTellable = (name: string): boolean => parseServiceName(name).ok;
