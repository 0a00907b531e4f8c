import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import type { DockerNode } from "./nodes/node";

export interface ConsulArgs {
  readonly node: DockerNode;
  readonly image: pulumi.Input<string>;
  /** Port of the HTTP API and page. */
  readonly httpPort: number;
  /** Port of DNS on the node's Docker bridge. */
  readonly dnsPort: number;
}

/**
 * Consul on one node, as a server. Its HTTP API listens on the node itself and on the node's Docker bridge
 * only; DNS on the bridge, for the node's containers.
 */
export class Consul extends pulumi.ComponentResource {
  /** Where the node's own containers of the host network reach the HTTP API: `127.0.0.1:8500`. */
  readonly httpAddress: pulumi.Output<string>;

  constructor(name: string, args: ConsulArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:Consul", name, {}, opts);
    const { node } = args;

    const data = new docker.Volume(name, { name: `${name}-data` }, { parent: this, provider: node.provider });
    const container = new docker.Container(
      name,
      {
        name,
        image: args.image,
        networkMode: "host",
        restart: "unless-stopped",
        command: pulumi
          .all([node.address, node.bridgeAddress])
          .apply(([address, bridge]) => agentArguments({ ...args, name: node.name, address, bridge })),
        envs: [pulumi.interpolate`NOT_RECURSOR=${node.bridgeAddress}`],
        labels: [{ label: "SERVICE_IGNORE", value: "true" }],
        capabilities: { drops: ["ALL"], adds: ["CAP_NET_BIND_SERVICE"] },
        volumes: [{ volumeName: data.name, containerPath: "/data" }],
        healthcheck: {
          tests: ["CMD", "consul", "operator", "raft", "list-peers", `-http-addr=127.0.0.1:${args.httpPort}`],
          interval: "3s",
          timeout: "3s",
          retries: 10,
          startPeriod: "0s",
        },
        wait: true,
        waitTimeout: 120,
        logOpts: { "max-size": "10m", "max-file": "3" },
      },
      { parent: this, provider: node.provider, deleteBeforeReplace: true },
    );
    this.httpAddress = container.id.apply(() => `127.0.0.1:${args.httpPort}`);
    this.registerOutputs({ httpAddress: this.httpAddress });
  }
}

interface Agent {
  readonly name: string;
  readonly address: string;
  readonly bridge: string;
  readonly httpPort: number;
  readonly dnsPort: number;
}

/** The arguments of `consul agent` for a single server. */
export function agentArguments({ name, address, bridge, httpPort, dnsPort }: Agent): string[] {
  const settings = {
    node_name: name,
    server: true,
    bootstrap_expect: 1,
    data_dir: "/data",
    bind_addr: address,
    addresses: { http: `127.0.0.1 ${bridge}`, dns: bridge },
    ports: { http: httpPort, dns: dnsPort },
    // One server on a LAN need not wait for slow links before it elects itself.
    performance: { raft_multiplier: 1 },
    // Answers come from any server, so that DNS goes on during an election.
    dns_config: { allow_stale: true, only_passing: true },
    disable_update_check: true,
    log_level: "WARN",
  };
  return ["-ui", `-hcl=${JSON.stringify(settings)}`];
}
