import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { ownerLabel, replacesLeftover } from "./leftovers";
import { placedOn, restartPolicy, type DockerNode } from "./nodes/node";

export interface DockerSocketProxyArgs {
  readonly node: DockerNode;
  /** The load balancer's, whose HAProxy is the proxy. */
  readonly image: pulumi.Input<string>;
}

/** The name of the container and of its volume. */
const CONTAINER = "docker-socket-proxy";
const FOLDER = `/run/${CONTAINER}`;

/**
 * A socket with which a container can read what runs on a node's Docker Engine, and nothing else
 * (`templates/haproxy/docker-socket-proxy.cfg`). Whoever has the engine's own socket controls the node.
 */
export class DockerSocketProxy extends pulumi.ComponentResource {
  /** The value of DOCKER_HOST for a container with the {@link mount}. */
  readonly dockerHost = `unix://${FOLDER}/docker.sock`;
  /** The mount of a container that uses the socket. */
  readonly mount: { volumeName: pulumi.Output<string>; containerPath: string; readOnly: true };

  constructor(name: string, args: DockerSocketProxyArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:DockerSocketProxy", name, {}, opts);
    const { node } = args;
    const placedHere = { parent: this, ...placedOn(node) };

    const volume = new docker.Volume(
      name,
      {
        name: CONTAINER,
        driver: "local",
        driverOpts: { type: "tmpfs", device: "tmpfs", o: "size=64k,mode=755" },
      },
      placedHere,
    );
    const container = new docker.Container(
      name,
      {
        name: CONTAINER,
        image: args.image,
        entrypoints: ["haproxy", "-f", "/app/docker-socket-proxy.cfg"],
        // The engine's socket belongs to root.
        user: "0",
        networkMode: "none",
        restart: restartPolicy,
        labels: [ownerLabel(), { label: "SERVICE_IGNORE", value: "true" }],
        // HAProxy's binary has this capability, without which it would not start.
        capabilities: { drops: ["ALL"], adds: ["CAP_NET_BIND_SERVICE"] },
        securityOpts: ["no-new-privileges:true"],
        readOnly: true,
        memory: 64,
        // The image's own is about a load balancer.
        healthcheck: { tests: ["NONE"] },
        volumes: [
          { hostPath: "/var/run/docker.sock", containerPath: "/var/run/docker.sock" },
          { volumeName: volume.name, containerPath: FOLDER },
        ],
        logOpts: { "max-size": "10m", "max-file": "3" },
      },
      {
        ...placedHere,
        ...replacesLeftover(node),
        deleteBeforeReplace: true,
        // The engine adds the swap space, and the image's intervals to the check.
        ignoreChanges: ["memorySwap", "healthcheck"],
      },
    );
    // Known once the proxy runs.
    const volumeName = pulumi.all([volume.name, container.id]).apply(([known]) => known);
    this.mount = { volumeName, containerPath: FOLDER, readOnly: true };
    this.registerOutputs();
  }
}
