import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { FirewallInForce } from "../providers/firewall";
import type { DockerSocketProxy } from "./docker-socket-proxy";
import { confined, helperLabels } from "./confined";
import { replacesLeftover } from "./leftovers";
import { boundTo, placedOn, type DockerNode } from "./nodes/node";

export interface FirewallArgs {
  readonly node: DockerNode;
  /** All nodes of the stack. */
  readonly nodes: readonly DockerNode[];
  readonly image: pulumi.Input<string>;
  /** What it reads the containers from. */
  readonly socket: DockerSocketProxy;
  /** Networks that may see the statistics page, beside the nodes. */
  readonly adminCidrs: readonly string[];
  /** Port of the statistics page. */
  readonly statsPort: number;
}

/** The container's name. */
const CONTAINER = "firewall";

/**
 * The firewall of a node. Only the stack's nodes reach the ports of instances, of Consul and of Swarm; only administrators
 * and nodes reach the statistics page. Docker opens published ports past the user's own firewall (moby/moby#22054), so these
 * rules are in tables of their own, which restarts of the engine leave alone. The container puts them into force when the
 * node starts.
 */
export class Firewall extends pulumi.ComponentResource {
  constructor(name: string, args: FirewallArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:Firewall", name, {}, opts);
    const { node, nodes, image, socket, adminCidrs, statsPort } = args;
    const container = new docker.Container(
      name,
      {
        name: CONTAINER,
        image,
        envs: [`DOCKER_HOST=${socket.dockerHost}`],
        command: [
          pulumi
            .all(nodes.map(({ address }) => address))
            .apply((addresses) => `--nodes=${[...addresses].sort().join(",")}`),
          ...(adminCidrs.length > 0 ? [`--admins=${adminCidrs.join(",")}`] : []),
          pulumi.interpolate`--bridge=${node.bridgeAddress}`,
          `--stats-port=${statsPort}`,
        ],
        // The kernel lets nobody else change its rules.
        user: "0",
        networkMode: "host",
        ...confined,
        labels: helperLabels(),
        capabilities: { drops: ["ALL"], adds: ["CAP_NET_ADMIN"] },
        memory: 128,
        memorySwap: 128,
        volumes: [socket.mount],
      },
      { parent: this, ...placedOn(node), ...replacesLeftover(node), deleteBeforeReplace: true },
    );
    new FirewallInForce(
      name,
      { host: node.host, sshOpts: node.sshOpts, container: CONTAINER, containerId: container.id, image },
      { parent: this, ...boundTo(node) },
    );
    this.registerOutputs();
  }
}
