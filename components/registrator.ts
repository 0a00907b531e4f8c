import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { ownerLabel, replacesLeftover } from "./leftovers";
import { placedOn, restartPolicy, type DockerNode } from "./nodes/node";

export interface RegistratorArgs {
  readonly node: DockerNode;
  /** Switchyard's own, or `gliderlabs/registrator`, which takes the same arguments. */
  readonly image: pulumi.Input<string>;
  /** The load balancer's, whose HAProxy filters the Docker socket. */
  readonly socketProxyImage: pulumi.Input<string>;
  /** `host:port` of Consul's HTTP API. */
  readonly consul: pulumi.Input<string>;
}

/** The containers' names. */
const REGISTRATOR = "registrator";
const SOCKET_PROXY = "docker-socket-proxy";
const SOCKET_FOLDER = `/run/${SOCKET_PROXY}`;

/**
 * Registrator on one node: keeps the containers that run on its Docker Engine registered in Consul. It has no Docker socket but
 * that of a proxy, which lets it read which containers run, and nothing else (`templates/haproxy/docker-socket-proxy.cfg`).
 */
export class Registrator extends pulumi.ComponentResource {
  constructor(name: string, args: RegistratorArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:Registrator", name, {}, opts);
    const { node } = args;
    const placedHere = { parent: this, ...placedOn(node) };
    const replacedHere = { ...placedHere, ...replacesLeftover(node), deleteBeforeReplace: true };
    const own = {
      restart: restartPolicy,
      labels: [ownerLabel(), { label: "SERVICE_IGNORE", value: "true" }],
      readOnly: true,
      securityOpts: ["no-new-privileges:true"],
      logOpts: { "max-size": "10m", "max-file": "3" },
    };

    const socket = new docker.Volume(
      `${SOCKET_PROXY}-${node.name}`,
      {
        name: SOCKET_PROXY,
        driver: "local",
        driverOpts: { type: "tmpfs", device: "tmpfs", o: "size=64k,mode=755" },
      },
      placedHere,
    );
    const socketProxy = new docker.Container(
      `${SOCKET_PROXY}-${node.name}`,
      {
        ...own,
        name: SOCKET_PROXY,
        image: args.socketProxyImage,
        entrypoints: ["haproxy", "-f", "/app/docker-socket-proxy.cfg"],
        // The engine's socket belongs to root.
        user: "0",
        networkMode: "none",
        // HAProxy's binary has this capability, without which it would not start.
        capabilities: { drops: ["ALL"], adds: ["CAP_NET_BIND_SERVICE"] },
        memory: 64,
        // The image's own is about a load balancer.
        healthcheck: { tests: ["NONE"] },
        volumes: [
          { hostPath: "/var/run/docker.sock", containerPath: "/var/run/docker.sock" },
          { volumeName: socket.name, containerPath: SOCKET_FOLDER },
        ],
      },
      // The engine adds the swap space, and the image's intervals to the check.
      { ...replacedHere, ignoreChanges: ["memorySwap", "healthcheck"] },
    );
    new docker.Container(
      name,
      {
        ...own,
        name: REGISTRATOR,
        image: args.image,
        networkMode: "host",
        command: [
          pulumi.interpolate`-ip=${node.address}`,
          "-cleanup",
          pulumi.interpolate`consul://${args.consul}`,
        ],
        envs: [`DOCKER_HOST=unix://${SOCKET_FOLDER}/docker.sock`],
        capabilities: { drops: ["ALL"] },
        volumes: [{ volumeName: socket.name, containerPath: SOCKET_FOLDER, readOnly: true }],
      },
      { ...replacedHere, dependsOn: socketProxy },
    );
    this.registerOutputs();
  }
}
