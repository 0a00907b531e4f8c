import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { DockerSocketProxy } from "./docker-socket-proxy";
import { confined, helperLabels } from "./confined";
import { replacesLeftover } from "./leftovers";
import { placedOn, type DockerNode } from "./nodes/node";
import { SecretsVolume } from "./secrets-volume";

export interface RegistratorArgs {
  readonly node: DockerNode;
  /** Switchyard's own, or `gliderlabs/registrator`, which takes the same arguments. */
  readonly image: pulumi.Input<string>;
  /** The load balancer's, whose HAProxy filters the Docker socket. */
  readonly socketProxyImage: pulumi.Input<string>;
  /** `host:port` of Consul's HTTP API. */
  readonly consul: pulumi.Input<string>;
  /** Consul's token for it. */
  readonly token: pulumi.Input<string>;
  /**
   * For the original Registrator, which reads its token from the environment when it starts: changes with the token. Without
   * it, the image reads the file that CONSUL_HTTP_TOKEN_FILE names.
   */
  readonly original?: { readonly tokenVersion: pulumi.Input<string> } | undefined;
}

/** The container's name. */
const CONTAINER = "registrator";
/** The user that Registrator runs as: nobody. */
const USER = 65_534;

/**
 * Registrator on one node: keeps the containers that run on its Docker Engine registered in Consul. It runs without
 * root, and has no Docker socket but that of a {@link DockerSocketProxy}.
 */
export class Registrator extends pulumi.ComponentResource {
  /** The socket, which others on the node may use as well. */
  readonly socket: DockerSocketProxy;

  constructor(name: string, args: RegistratorArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:Registrator", name, {}, opts);
    const { node, original } = args;
    this.socket = new DockerSocketProxy(
      `docker-socket-proxy-${node.name}`,
      { node, image: args.socketProxyImage },
      { parent: this },
    );
    const secrets = new SecretsVolume(
      name,
      {
        node,
        container: CONTAINER,
        image: args.image,
        files: pulumi.output(args.token).apply((token) => ({ token })),
        user: USER,
      },
      this,
    );
    new docker.Container(
      name,
      {
        name: CONTAINER,
        image: args.image,
        ...(original && {
          entrypoints: [
            "/bin/sh",
            "-c",
            'CONSUL_HTTP_TOKEN=$(cat /secrets/token) && export CONSUL_HTTP_TOKEN && exec /bin/registrator "$@"',
            CONTAINER,
          ],
        }),
        user: `${USER}`,
        envs: [`DOCKER_HOST=${this.socket.dockerHost}`, "CONSUL_HTTP_TOKEN_FILE=/secrets/token"],
        networkMode: "host",
        ...confined,
        command: [
          pulumi.interpolate`-ip=${node.address}`,
          "-cleanup",
          pulumi.interpolate`consul://${args.consul}`,
        ],
        labels: [
          ...helperLabels(),
          ...(original ? [{ label: "switchyard.token", value: original.tokenVersion }] : []),
        ],
        capabilities: { drops: ["ALL"] },
        memory: 256,
        memorySwap: 256,
        volumes: [this.socket.mount, secrets.mount],
      },
      { parent: this, ...placedOn(node), ...replacesLeftover(node), deleteBeforeReplace: true },
    );
    this.registerOutputs();
  }
}
