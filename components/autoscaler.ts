import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { AutoscalerKeys } from "../providers/autoscaler-keys";
import { confined, helperLabels } from "./confined";
import { CONTAINER as CONSUL } from "./consul";
import type { DockerSocketProxy } from "./docker-socket-proxy";
import { filteredSocket, socketFolder, type SocketMount } from "./filtered-socket";
import { replacesLeftover } from "./leftovers";
import { placedOn, quorum, type DockerNode } from "./nodes/node";
import { SecretsVolume } from "./secrets-volume";

export interface AutoscalerArgs {
  /** All nodes of the stack, and on each the filtered Docker socket, which tells what instances use. */
  readonly nodes: readonly { readonly node: DockerNode; readonly socket: DockerSocketProxy }[];
  /** The image on a node. */
  readonly image: (node: DockerNode) => pulumi.Input<string>;
  /** `host:port` of Consul's HTTP API on each node. */
  readonly consul: pulumi.Input<string>;
  /** Consul's token for it. */
  readonly token: pulumi.Input<string>;
  /** Port of `/status`, `/metrics` and `/ready`, on each node itself only. */
  readonly port: number;
  /** Whether it only starts jobs: it scales, recommends and measures nothing, and only managers have it. */
  readonly jobsOnly?: boolean;
  /** Whether it only logs and shows what it would do, except that it starts jobs. */
  readonly dry: boolean;
  /** Whether it chooses limits of memory and processor, which every node changes for its own instances. */
  readonly limits: boolean;
}

/** The container's name. */
const CONTAINER = "autoscaler";
/** The user that the image runs as: nobody. */
const USER = 65_534;

/**
 * Chooses the number of instances of each service with a range, and automatic limits, and starts the runs of jobs. Every node has a container, which measures what instances use
 * there; one of those on Swarm's managers decides, and another takes over when it is gone.
 */
export class Autoscaler extends pulumi.ComponentResource {
  constructor(name: string, args: AutoscalerArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:Autoscaler", name, {}, opts);
    const managers = quorum(args.nodes);
    const [first] = args.nodes;
    // Deleted last: a container that still ran could write the keys again.
    const keys = new AutoscalerKeys(
      name,
      { host: first?.node.host ?? "", sshOpts: first?.node.sshOpts, container: CONSUL },
      { parent: this },
    );
    for (const each of args.nodes) {
      const { node, socket } = each;
      const isManager = managers.includes(each);
      if (args.jobsOnly === true && !isManager) continue;
      const measures = args.jobsOnly !== true;
      const narrow =
        isManager || args.limits
          ? new AutoscalerSocket(
              `autoscaler-docker-${node.name}`,
              { node, image: args.image(node) },
              { parent: this },
            )
          : undefined;
      const nodeName = `${name}-${node.name}`;
      const secrets = new SecretsVolume(
        nodeName,
        {
          node,
          container: CONTAINER,
          image: args.image(node),
          files: pulumi.output(args.token).apply((token) => ({ token })),
          user: USER,
        },
        this,
      );
      new docker.Container(
        nodeName,
        {
          name: CONTAINER,
          image: args.image(node),
          user: `${USER}`,
          envs: [
            ...(measures ? [`DOCKER_HOST=${socket.dockerHost}`] : []),
            "CONSUL_HTTP_TOKEN_FILE=/secrets/token",
          ],
          command: [
            `--node=${node.name}`,
            pulumi.interpolate`--consul=${args.consul}`,
            ...(narrow ? [`--${isManager ? "swarm" : "limits"}=${narrow.path}`] : []),
            `--admin=127.0.0.1:${args.port}`,
            ...(args.dry ? ["--dry"] : []),
            ...(measures ? [] : ["--jobs-only"]),
          ],
          networkMode: "host",
          ...confined,
          labels: helperLabels(),
          capabilities: { drops: ["ALL"] },
          memory: 128,
          memorySwap: 128,
          volumes: [...(measures ? [socket.mount] : []), ...(narrow ? [narrow.mount] : []), secrets.mount],
        },
        {
          parent: this,
          ...placedOn(node),
          ...replacesLeftover(node),
          deleteBeforeReplace: true,
          dependsOn: [keys],
        },
      );
    }
    this.registerOutputs();
  }
}

interface AutoscalerSocketArgs {
  readonly node: DockerNode;
  readonly image: pulumi.Input<string>;
}

/** The name of the container and of its volume. */
const SOCKET_CONTAINER = "autoscaler-docker";

/**
 * A socket with which the autoscaler can list services, set their number of instances and automatic limits, and start and end jobs, and nothing else
 * (`templates/autoscaler`). Whoever has the engine's own socket controls the node.
 */
class AutoscalerSocket extends pulumi.ComponentResource {
  readonly path = `${socketFolder(SOCKET_CONTAINER)}/docker.sock`;
  /** The mount of the container that uses the socket. */
  readonly mount: SocketMount;

  constructor(name: string, { node, image }: AutoscalerSocketArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:AutoscalerSocket", name, {}, opts);
    this.mount = filteredSocket(this, name, {
      node,
      container: SOCKET_CONTAINER,
      program: {
        image,
        command: ["docker", `--listen=${this.path}`],
        capabilities: { drops: ["ALL"] },
        memory: 128,
        memorySwap: 128,
      },
    });
    this.registerOutputs();
  }
}
