import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import * as path from "node:path";

import * as pulumi from "@pulumi/pulumi";

import { NodeVolumes, type VolumeGroup } from "../providers/node-volumes";
import { OWNER_LABEL, stackOwner } from "../providers/owner";
import type { MountInputs } from "../providers/swarm-service/container";
import type { ServiceConfig } from "./config/services";
import { isOfNode, type Volume } from "./config/volumes";
import { socketFolder } from "./filtered-socket";
import { configError } from "./schema";
import type { SwarmCluster } from "./swarm-cluster";

/** Docker's name of a volume: two stacks share none. One on a file server gets another name with other options. */
export function nameOf({ source = "", driverOptions }: Volume, stack = pulumi.getStack()): string {
  const hash = createHash("sha256").update(JSON.stringify(driverOptions ?? {}));
  const suffix = driverOptions === undefined ? "" : `_${hash.digest("hex").slice(0, 8)}`;
  return `${stack}_${source}${suffix}`;
}

const namesIn = ({ volumes }: ServiceConfig): string[] =>
  volumes.filter(isOfNode).map((volume) => nameOf(volume));

/**
 * The mounts of a service.
 *
 * @throws UserError if a path relative to the stack file does not exist
 */
export function mountsOf({ name, volumes, tmpfs, socket }: ServiceConfig): MountInputs[] {
  const labels = { [OWNER_LABEL]: stackOwner() };
  const own = [...volumes, ...tmpfs].map(({ readOnly, ...volume }) => ({
    ...volume,
    ...(readOnly && { readOnly }),
    ...(volume.type === "volume" && { source: nameOf({ readOnly, ...volume }), labels }),
    ...(volume.type === "bind" && { source: pathOf(name, volume.source ?? "") }),
  }));
  if (socket === undefined) return own;
  return [...own, { type: "volume", source: socket, target: socketFolder(socket), readOnly: true }];
}

function pathOf(service: string, source: string): string {
  const absolute = path.resolve(source);
  if (!source.startsWith("/") && !existsSync(absolute))
    throw configError("services", `: ${service} mounts ${source}, which does not exist`, "create it");
  return absolute;
}

/** Services that share a volume have all of theirs on one node. */
export function groupsOf(services: readonly ServiceConfig[]): VolumeGroup[] {
  const groups: { volumes: Set<string>; constraints: Set<string> }[] = [];
  for (const service of services) {
    const names = namesIn(service);
    if (names.length === 0) continue;
    const shared = groups.filter(({ volumes }) => names.some((name) => volumes.has(name)));
    const all = {
      volumes: new Set([...shared.flatMap(({ volumes }) => [...volumes]), ...names]),
      constraints: new Set([
        ...shared.flatMap(({ constraints }) => [...constraints]),
        ...(service.placement?.constraints ?? []),
      ]),
    };
    groups.splice(0, groups.length, ...groups.filter((group) => !shared.includes(group)), all);
  }
  return groups.map(({ volumes, constraints }) => ({
    volumes: [...volumes].sort(),
    constraints: [...constraints].sort(),
  }));
}

/** The volumes of services that are on one node each, and the constraints that pin the services to it. */
export class Volumes {
  private readonly volumes: NodeVolumes | undefined;

  constructor(
    services: readonly ServiceConfig[],
    private readonly swarm: SwarmCluster,
  ) {
    const groups = groupsOf(services);
    if (groups.length === 0) return;
    const nodes = swarm.nodes.map(({ name, id, host, sshOpts }) => ({
      name,
      id,
      host,
      ...(sshOpts && { sshOpts }),
    }));
    const { manager: host, sshOpts } = swarm;
    this.volumes = new NodeVolumes("volumes", { nodes, host, sshOpts, groups }, { dependsOn: swarm });
  }

  /** The name of the node of each volume. */
  get placed(): pulumi.Output<Record<string, string>> {
    return this.volumes?.placed ?? pulumi.output<Record<string, string>>({});
  }

  /** The constraint that pins a service to the node of its volumes; none if it has none. */
  constraintsOf(service: ServiceConfig): pulumi.Output<string>[] {
    const [name] = namesIn(service);
    if (this.volumes === undefined || name === undefined) return [];
    const ids = pulumi.all(this.swarm.nodes.map(({ name: node, id }) => id.apply((known) => [node, known])));
    return [
      pulumi.all([this.volumes.placed, ids]).apply(([placed, known]) => {
        const id = known.find(([node]) => node === placed[name])?.[1];
        return `node.id==${id ?? "unknown"}`;
      }),
    ];
  }
}
