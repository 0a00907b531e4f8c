import * as pulumi from "@pulumi/pulumi";

import { dumpSocket } from "./config/backups";
import type { ServiceConfig } from "./config/services";
import { filteredSocket, socketFolder } from "./filtered-socket";
import type { DockerNode } from "./nodes/node";

export interface DumpsArgs {
  readonly nodes: readonly DockerNode[];
  readonly services: readonly ServiceConfig[];
  /** The image with the program on a node. */
  readonly image: (node: DockerNode) => pulumi.Input<string>;
}

/**
 * A socket on each node at which the jobs that make backups get the dumps of services, and nothing else (`templates/backup`). Whoever
 * has the engine's own socket controls the node.
 */
export class Dumps extends pulumi.ComponentResource {
  constructor(name: string, { nodes, services, image }: DumpsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:Dumps", name, {}, opts);
    const programs = services.flatMap(({ swarmName, backup }) =>
      backup?.dump === undefined ? [] : [`--program=${swarmName}=${JSON.stringify(backup.dump)}`],
    );
    // It is on every node, because only an output says on which one a volume is.
    for (const node of nodes)
      filteredSocket(this, `${dumpSocket}-${node.name}`, {
        node,
        container: dumpSocket,
        program: {
          image: image(node),
          command: ["docker", `--listen=${socketFolder(dumpSocket)}/docker.sock`, ...programs],
          capabilities: { drops: ["ALL"] },
          memory: 128,
          memorySwap: 128,
        },
      });
    this.registerOutputs();
  }
}
