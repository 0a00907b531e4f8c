import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import type { Routing } from "../routing/types";
import type { Https } from "./config/index";
import { placedOn, type DockerNode } from "./nodes/node";
import type { Ports } from "./ports";

export interface LoadBalancerArgs {
  readonly node: DockerNode;
  readonly image: pulumi.Input<string>;
  /** `host:port` of Consul's HTTP API. */
  readonly consul: pulumi.Input<string>;
  readonly ports: Ports;
  /** Default: HTTP only. */
  readonly https?: Https | undefined;
  readonly statsUser: string;
  readonly statsPassword: pulumi.Input<string>;
}

/** What the container is called, and the service in Consul. */
const CONTAINER = "rest";

/** The load balancer's name for services: `http://rest.service.consul` is that of their own node. */
export const loadBalancerHost = `${CONTAINER}.service.consul`;

/**
 * The load balancer of one node: HAProxy and the renderer that follows Consul. Its container is called `rest` and
 * registered in Consul under that name, so that `docker logs rest` and `http://rest.service.consul` mean the same.
 */
export class LoadBalancer extends pulumi.ComponentResource {
  /** `http://<node>`, with the port unless it is 80. */
  readonly url: pulumi.Output<string>;
  /** The node, as users reach it. */
  private readonly address: pulumi.Output<string>;
  /** The statistics page. */
  readonly statsUrl: pulumi.Output<string>;
  /** The page of routes, instances and refusals; only on the node itself. */
  readonly adminUrl: string;

  constructor(name: string, args: LoadBalancerArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:LoadBalancer", name, {}, opts);
    const { node, ports, https } = args;

    const state = new docker.Volume(
      name,
      { name: `${CONTAINER}-state` },
      { parent: this, ...placedOn(node) },
    );
    const container = new docker.Container(
      name,
      {
        name: CONTAINER,
        image: args.image,
        networkMode: "host",
        restart: "unless-stopped",
        command: [
          pulumi.interpolate`--consul=${args.consul}`,
          `--http-port=${ports.http}`,
          `--stats-port=${ports.stats}`,
          `--admin=127.0.0.1:${ports.admin}`,
          ...(https && ports.https ? ["--certs=/certs", `--https-port=${ports.https}`] : []),
          ...(https?.redirect ? ["--redirect-https"] : []),
        ],
        envs: [
          `STATS_USER=${args.statsUser}`,
          pulumi.interpolate`STATS_PASSWORD=${args.statsPassword}`,
          // Where the image's own health check asks.
          `ADMIN_PORT=${ports.admin}`,
        ],
        labels: [{ label: "SERVICE_NAME", value: CONTAINER }],
        capabilities: { drops: ["ALL"], adds: ["CAP_NET_BIND_SERVICE"] },
        readOnly: true,
        volumes: [
          { volumeName: state.name, containerPath: "/var/lib/switchyard" },
          ...(https ? [{ hostPath: https.certificates, containerPath: "/certs", readOnly: true }] : []),
        ],
        wait: true,
        waitTimeout: 120,
        // Connections in flight get this long when the container is replaced.
        destroyGraceSeconds: 15,
        logOpts: { "max-size": "50m", "max-file": "3" },
      },
      { parent: this, ...placedOn(node), deleteBeforeReplace: true },
    );
    this.address = pulumi.all([node.publicAddress, container.id]).apply(([address]) => address);
    this.url = pulumi.interpolate`http://${this.address}${ports.http === 80 ? "" : `:${ports.http}`}`;
    this.statsUrl = pulumi.interpolate`http://${this.address}:${ports.stats}`;
    this.adminUrl = `http://localhost:${ports.admin}`;
    this.registerOutputs({ url: this.url, statsUrl: this.statsUrl, adminUrl: this.adminUrl });
  }

  /** Where each service answers: on the node, or on the host name that it is for. */
  urlsOf({ routes, tcp }: Routing): Record<string, pulumi.Output<string>> {
    const urls: Record<string, pulumi.Output<string>> = {};
    for (const { host, path, versionsOf, targets } of routes) {
      const [target] = targets;
      if (target === undefined || versionsOf !== undefined) continue;
      urls[target.service] =
        host === undefined ? pulumi.interpolate`${this.url}${path}` : pulumi.output(`http://${host}${path}`);
    }
    for (const { port, service } of tcp) urls[service] = pulumi.interpolate`tcp://${this.address}:${port}`;
    return urls;
  }
}
