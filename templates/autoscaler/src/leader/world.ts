/** Everything that a tick decides by, read at once. */
import { encodeForeign } from "../../../../lib/text";
import type { Parsed } from "../../../../routing/grammar";
import { parseFigures, type Figures } from "../../../../routing/scaling/figures";
import { scalingKeys } from "../../../../routing/scaling/keys";
import { parseUsage, type Usage } from "../../../../routing/scaling/usage";
import type { Consul } from "../consul/client";
import { entriesOf, nodeNames, servicesOf, type Entry, type Services } from "../consul/decode";
import type { Swarm } from "../swarm/types";

export interface World {
  readonly swarm: Swarm;
  readonly consul: Services;
  /** By node, with the index of their keys. */
  readonly figures: ReadonlyMap<string, { readonly index: number; readonly parsed: Parsed<Figures> }>;
  readonly usage: ReadonlyMap<string, Parsed<Usage>>;
  /** By service. */
  readonly sleeping: ReadonlyMap<string, Entry>;
  readonly wanted: ReadonlyMap<string, Entry>;
  readonly measured: Entry | undefined;
  readonly limits: Entry | undefined;
  /** By job, in Docker's name. */
  readonly jobs: ReadonlyMap<string, Entry>;
}

/** @throws Error if Docker or Consul does not answer: then nothing is decided */
export async function readWorld(swarm: { swarm(): Promise<Swarm> }, consul: Consul): Promise<World> {
  const keys = (prefix: string) => readKeys(consul, prefix);
  const [docker, services, figures, usage, sleeping, wanted, measured, limits, jobs] = await Promise.all([
    swarm.swarm(),
    readServices(consul),
    keys(scalingKeys.figures),
    keys(scalingKeys.usage),
    keys(scalingKeys.sleeping),
    keys(scalingKeys.wanted),
    keys(scalingKeys.measure),
    keys(scalingKeys.limits),
    keys(scalingKeys.jobs),
  ]);
  return {
    swarm: docker,
    consul: services,
    figures: new Map(
      [...figures].map(([node, { index, value }]) => [node, { index, parsed: parseFigures(value) }]),
    ),
    usage: new Map([...usage].map(([node, { value }]) => [node, parseUsage(value)])),
    sleeping,
    wanted,
    measured: measured.get(""),
    limits: limits.get(""),
    jobs,
  };
}

export const readKeys = async (consul: Consul, prefix: string): Promise<ReadonlyMap<string, Entry>> =>
  entriesOf((await consul.get(`kv/${prefix}?recurse`)).body, prefix);

async function readServices(consul: Consul): Promise<Services> {
  const body = async (path: string) => (await consul.get(path)).body;
  const nodes = nodeNames(await body("catalog/nodes"));
  const [critical, warning, ...services] = await Promise.all([
    body("health/state/critical"),
    body("health/state/warning"),
    ...nodes.map((node) => body(`catalog/node-services/${encodeForeign(node)}`)),
  ]);
  return servicesOf(services, [critical, warning]);
}
