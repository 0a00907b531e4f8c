import { createHmac } from "node:crypto";

import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { RollingContainer } from "../providers/rolling-container/provider";
import { byHost } from "../routing/hosts";
import type { Routing } from "../routing/types";
import type { Https } from "./config/index";
import { boundTo, restartPolicy, storedOn, type DockerNode } from "./nodes/node";
import type { Ports } from "./ports";
import { RandomKey } from "./random-key";
import { SecretsVolume } from "./secrets-volume";

export interface LoadBalancerArgs {
  readonly node: DockerNode;
  readonly image: pulumi.Input<string>;
  /** `host:port` of Consul's HTTP API. */
  readonly consul: pulumi.Input<string>;
  /** Consul's token for it. */
  readonly token: pulumi.Input<string>;
  /** `address:port` of the DNS server to ask for services with a name as address. Default: the node's own. */
  readonly dns?: pulumi.Input<string> | undefined;
  readonly ports: Ports;
  /** Default: HTTP only. */
  readonly https?: Https | undefined;
  /** Folder on the node with the certificates of authorities that services name. Default: none. */
  readonly authorities?: string | undefined;
  /** Networks of the proxies in front. Default: none. */
  readonly trustedProxies?: readonly string[] | undefined;
  /** Whether these proxies speak the PROXY protocol. */
  readonly proxyProtocol?: boolean | undefined;
  /** The nodes that reach internal services, beside this one. Default: none. */
  readonly nodes?: readonly DockerNode[] | undefined;
  readonly statsUser: pulumi.Input<string>;
  readonly statsPassword: pulumi.Input<string>;
}

/** The name of the container and of its service in Consul. */
const CONTAINER = "rest";

/** The user that the image runs as. */
const USER = 10001;

/** Changes with the password. Whoever reads it cannot try passwords, because the key is a secret. */
const fingerprintOf = ([key, password]: readonly [string, string]): string =>
  createHmac("sha256", key).update(password).digest("hex").slice(0, 16);

/** The host name at which services reach the load balancer of their own node: `http://rest.service.consul`. */
export const loadBalancerHost = `${CONTAINER}.service.consul`;

/**
 * The load balancer of one node: HAProxy and the renderer that follows Consul. The container and its service in Consul are
 * both named `rest`, so `docker logs rest` shows what `http://rest.service.consul` answers.
 */
export class LoadBalancer extends pulumi.ComponentResource {
  /** `http://<node>`, with the port unless it is 80. */
  readonly url: pulumi.Output<string>;
  /** The node's public address. */
  private readonly address: pulumi.Output<string>;
  /** The statistics page. */
  readonly statsUrl: pulumi.Output<string>;
  /** The status page: routes, instances and rejected services. On the node itself only. */
  readonly adminUrl: string;

  constructor(name: string, args: LoadBalancerArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:LoadBalancer", name, {}, opts);
    const { node, ports, https, authorities, trustedProxies = [], proxyProtocol, nodes = [] } = args;
    const others = nodes.filter((each) => each !== node).map(({ address }) => address);

    const state = new docker.Volume(
      name,
      { name: `${CONTAINER}-state` },
      { parent: this, ...storedOn(node) },
    );
    const secrets = new SecretsVolume(
      name,
      {
        node,
        container: CONTAINER,
        image: args.image,
        files: pulumi
          .all([args.token, args.statsPassword])
          .apply(([token, password]) => ({ token, "stats-password": password })),
        user: USER,
      },
      this,
    );
    // Not one of Consul's tokens: another one must not replace the container.
    const { key } = new RandomKey(name, { bytes: 32 }, { parent: this });
    const container = new RollingContainer(
      name,
      {
        host: node.host,
        sshOpts: node.sshOpts,
        name: CONTAINER,
        image: args.image,
        restart: restartPolicy,
        command: [
          pulumi.interpolate`--consul=${args.consul}`,
          ...(args.dns === undefined ? [] : [pulumi.interpolate`--dns=${args.dns}`]),
          `--http-port=${ports.http}`,
          `--stats-port=${ports.stats}`,
          `--admin=127.0.0.1:${ports.admin}`,
          ...(https && ports.https ? ["--certs=/certs", `--https-port=${ports.https}`] : []),
          ...(https?.redirect ? ["--redirect-https"] : []),
          ...(authorities ? ["--authorities=/authorities"] : []),
          ...(trustedProxies.length > 0 ? [`--trust-forwarded=${trustedProxies.join(",")}`] : []),
          ...(proxyProtocol ? ["--proxy-protocol"] : []),
          ...(others.length > 0
            ? [pulumi.all(others).apply((addresses) => `--internal-from=${[...addresses].sort().join(",")}`)]
            : []),
        ],
        env: {
          STATS_USER: args.statsUser,
          STATS_PASSWORD_FILE: "/secrets/stats-password",
          // HAProxy reads it when it starts, so another password takes a new container.
          STATS_PASSWORD_FINGERPRINT: pulumi.all([key, args.statsPassword]).apply(fingerprintOf),
          CONSUL_HTTP_TOKEN_FILE: "/secrets/token",
          // Read by the image's health check.
          ADMIN_PORT: `${ports.admin}`,
          // Under which it tells the autoscaler its figures.
          NODE_NAME: node.name,
        },
        labels: { SERVICE_NAME: CONTAINER },
        capabilities: { drops: ["ALL"], adds: ["CAP_NET_BIND_SERVICE"] },
        readOnly: true,
        // Each HAProxy worker has a thread per processor, and former ones stay until their connections end.
        pidsLimit: 4096,
        volumes: [
          { volumeName: state.name, containerPath: "/var/lib/switchyard" },
          secrets.mount,
          ...(https ? [{ hostPath: https.certificates, containerPath: "/certs", readOnly: true }] : []),
          ...(authorities ? [{ hostPath: authorities, containerPath: "/authorities", readOnly: true }] : []),
        ],
        logOpts: { "max-size": "50m", "max-file": "3" },
      },
      { parent: this, ...boundTo(node) },
    );
    this.address = pulumi.all([node.publicAddress, container.id]).apply(([address]) => address);
    this.url = pulumi.interpolate`http://${this.address}${ports.http === 80 ? "" : `:${ports.http}`}`;
    this.statsUrl = pulumi.interpolate`http://${this.address}:${ports.stats}`;
    this.adminUrl = `http://localhost:${ports.admin}`;
    this.registerOutputs({ url: this.url, statsUrl: this.statsUrl, adminUrl: this.adminUrl });
  }

  /** One URL of each service: on a host name if it has one, otherwise on the node. */
  urlsOf({ routes, tcp }: Routing): Record<string, pulumi.Output<string>> {
    const urls: Record<string, pulumi.Output<string>> = {};
    for (const { host, path, versionsOf, targets } of [...routes].sort(byHost)) {
      const [target] = targets;
      if (target === undefined || versionsOf !== undefined || Object.hasOwn(urls, target.service)) continue;
      urls[target.service] =
        host === undefined ? pulumi.interpolate`${this.url}${path}` : pulumi.output(`http://${host}${path}`);
    }
    for (const { port, service } of tcp) urls[service] = pulumi.interpolate`tcp://${this.address}:${port}`;
    return urls;
  }
}
