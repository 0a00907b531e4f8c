/** What the world looks like to the core: services to scale, and those that cannot be. Pure. */
import { parseServiceName, show } from "../../../../routing/grammar";
import { readLabels } from "../../../../routing/scaling/labels";
import type { ReplicaRange } from "../../../../routing/scaling/replicas";
import type { SwarmService } from "../swarm/types";
import type { ScaledService } from "../tick";
import { processorsOf, type Seen, type UsageBoard } from "../usage/board";
import type { World } from "./world";

export interface Observed extends ScaledService {
  readonly swarm: SwarmService;
}

/** A service that asks to be scaled and cannot be. */
export interface Unscaled {
  readonly swarm: SwarmService;
  readonly name: string;
  readonly problem: string;
}

export interface Observations {
  readonly scaled: readonly Observed[];
  readonly unscaled: readonly Unscaled[];
}

export function observe(
  { swarm, consul, wanted }: Pick<World, "swarm" | "consul" | "wanted">,
  usage: UsageBoard,
  seen: Seen,
  nowMs: number,
): Observations {
  const scaled: Observed[] = [];
  const unscaled: Unscaled[] = [];
  const names = new Map<string, string>();
  for (const service of swarm.services) {
    const { swarmName, replicas, running, registration } = service;
    const name = registration?.name ?? swarmName;
    const read = rangeOf(service, name);
    // It may ask for automatic limits only.
    if (read === undefined) continue;
    const other = names.get(name);
    const problem =
      typeof read === "string"
        ? read
        : other === undefined
          ? undefined
          : `has the name of ${other} in Consul`;
    if (problem !== undefined || typeof read === "string") {
      unscaled.push({ swarm: service, name, problem: problem ?? "" });
      continue;
    }
    names.set(name, swarmName);
    scaled.push({
      name,
      range: read,
      replicas,
      // Without a registration there is no health check to go by.
      ready: registration === undefined ? running : (consul.byName.get(name)?.ready ?? 0),
      waiting: service.tasks.filter(({ noRoom }) => noRoom !== undefined).length,
      wanted: wanted.has(name),
      processors: read.targets.processor === undefined ? [] : processorsOf(service, usage, seen, nowMs),
      swarm: service,
    });
  }
  return { scaled, unscaled };
}

/** The range, why there is none, or undefined if it does not ask for one. */
function rangeOf({ labels, problem }: SwarmService, name: string): ReplicaRange | string | undefined {
  const scaling = readLabels(labels);
  if (!scaling.ok) {
    const { path, problem: what, cure } = scaling.mistake;
    return `its label ${path.join(".")} ${what}: ${cure}`;
  }
  const { replicas } = scaling.value;
  if (replicas === undefined) return undefined;
  if (problem !== undefined) return problem;
  const parsed = parseServiceName(name);
  return parsed.ok ? replicas : `its name ${show(name)} ${parsed.error}`;
}
