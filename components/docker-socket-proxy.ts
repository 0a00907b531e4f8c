import * as pulumi from "@pulumi/pulumi";

import { filteredSocket, socketFolder, type SocketMount } from "./filtered-socket";
import type { DockerNode } from "./nodes/node";

export interface DockerSocketProxyArgs {
  readonly node: DockerNode;
  /** The load balancer's, whose HAProxy is the proxy. */
  readonly image: pulumi.Input<string>;
}

/** The name of the container and of its volume. */
const CONTAINER = "docker-socket-proxy";

/**
 * A socket with which a container can read what runs on a node's Docker Engine, and nothing else
 * (`templates/haproxy/docker-socket-proxy.cfg`). Whoever has the engine's own socket controls the node.
 */
export class DockerSocketProxy extends pulumi.ComponentResource {
  /** The value of DOCKER_HOST for a container with the {@link mount}. */
  readonly dockerHost = `unix://${socketFolder(CONTAINER)}/docker.sock`;
  /** The mount of a container that uses the socket. */
  readonly mount: SocketMount;

  constructor(name: string, { node, image }: DockerSocketProxyArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:DockerSocketProxy", name, {}, opts);
    this.mount = filteredSocket(this, name, {
      node,
      container: CONTAINER,
      program: {
        image,
        entrypoints: ["haproxy", "-f", "/app/docker-socket-proxy.cfg"],
        // HAProxy's binary has this capability, without which it would not start.
        capabilities: { drops: ["ALL"], adds: ["CAP_NET_BIND_SERVICE"] },
        memory: 64,
        // The image's own is about a load balancer.
        healthcheck: { tests: ["NONE"] },
      },
      // The engine adds the swap space, and the image's intervals to the check.
      ignoreChanges: ["memorySwap", "healthcheck"],
    });
    this.registerOutputs();
  }
}
