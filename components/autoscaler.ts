import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { AutoscalerKeys } from "../providers/autoscaler-keys";
import { CONTAINER as CONSUL } from "./consul";
import type { DockerSocketProxy } from "./docker-socket-proxy";
import { ownerLabel, replacesLeftover } from "./leftovers";
import { placedOn, quorum, restartPolicy, type DockerNode } from "./nodes/node";
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
  /** Whether it only logs and shows what it would do. */
  readonly dry: boolean;
}

/** The container's name. */
const CONTAINER = "autoscaler";
/** The user that the image runs as: nobody. */
const USER = 65_534;

/**
 * Chooses the number of instances of each service with a range. Every node has a container, which measures what instances use
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
      const narrow = managers.includes(each)
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
          envs: [`DOCKER_HOST=${socket.dockerHost}`, "CONSUL_HTTP_TOKEN_FILE=/secrets/token"],
          command: [
            `--node=${node.name}`,
            pulumi.interpolate`--consul=${args.consul}`,
            ...(narrow ? [`--swarm=${narrow.path}`] : []),
            `--admin=127.0.0.1:${args.port}`,
            ...(args.dry ? ["--dry"] : []),
          ],
          networkMode: "host",
          restart: restartPolicy,
          labels: [ownerLabel(), { label: "SERVICE_IGNORE", value: "true" }],
          capabilities: { drops: ["ALL"] },
          securityOpts: ["no-new-privileges:true"],
          readOnly: true,
          memory: 128,
          memorySwap: 128,
          volumes: [socket.mount, ...(narrow ? [narrow.mount] : []), secrets.mount],
          logOpts: { "max-size": "10m", "max-file": "3" },
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
const FOLDER = `/run/${SOCKET_CONTAINER}`;

/**
 * A socket with which the autoscaler can list the services that ask for it and set their number of instances, and nothing else
 * (`templates/autoscaler`). Whoever has the engine's own socket controls the node.
 */
class AutoscalerSocket extends pulumi.ComponentResource {
  readonly path = `${FOLDER}/docker.sock`;
  /** The mount of the container that uses the socket. */
  readonly mount: { volumeName: pulumi.Output<string>; containerPath: string; readOnly: true };

  constructor(name: string, { node, image }: AutoscalerSocketArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:AutoscalerSocket", name, {}, opts);
    const placedHere = { parent: this, ...placedOn(node) };
    const volume = new docker.Volume(
      name,
      {
        name: SOCKET_CONTAINER,
        driver: "local",
        driverOpts: { type: "tmpfs", device: "tmpfs", o: "size=64k,mode=755" },
      },
      placedHere,
    );
    const container = new docker.Container(
      name,
      {
        name: SOCKET_CONTAINER,
        image,
        command: ["docker", `--listen=${FOLDER}/docker.sock`],
        // The engine's socket belongs to root.
        user: "0",
        networkMode: "none",
        restart: restartPolicy,
        labels: [ownerLabel(), { label: "SERVICE_IGNORE", value: "true" }],
        capabilities: { drops: ["ALL"] },
        securityOpts: ["no-new-privileges:true"],
        readOnly: true,
        memory: 128,
        memorySwap: 128,
        volumes: [
          { hostPath: "/var/run/docker.sock", containerPath: "/var/run/docker.sock" },
          { volumeName: volume.name, containerPath: FOLDER },
        ],
        logOpts: { "max-size": "10m", "max-file": "3" },
      },
      { ...placedHere, ...replacesLeftover(node), deleteBeforeReplace: true },
    );
    // Known once the socket's keeper runs.
    const volumeName = pulumi.all([volume.name, container.id]).apply(([known]) => known);
    this.mount = { volumeName, containerPath: FOLDER, readOnly: true };
    this.registerOutputs();
  }
}
