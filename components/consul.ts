import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { ConsulMember } from "../providers/consul-member";
import type { ConsulCertificates } from "./consul-certificates";
import { consulFiles } from "./consul-rights";
import type { ConsulTokens } from "./consul-tokens";
import { SecretsVolume } from "./secrets-volume";
import { ownerLabel, replacesLeftover } from "./leftovers";
import { placedOn, restartPolicy, storedOn, type DockerNode } from "./nodes/node";

export interface ConsulArgs {
  readonly node: DockerNode;
  /** The nodes that run Consul servers. On every other node the agent is a client. */
  readonly servers: readonly DockerNode[];
  /** Encrypts gossip between the agents: 32 bytes in base64, the same on every node. */
  readonly gossipKey: pulumi.Input<string>;
  readonly tokens: ConsulTokens;
  readonly certificates: ConsulCertificates;
  readonly image: pulumi.Input<string>;
  /** Port of the HTTP API and web UI. */
  readonly httpPort: number;
  /** Port of DNS on the node's Docker bridge. */
  readonly dnsPort: number;
}

/** The container's name, the same on every node, so that `docker exec consul consul members` always works. */
export const CONTAINER = "consul";

/**
 * Consul on one node, as a server or a client. It is ready once it is in the cluster; let each one depend on the one before,
 * so that an update replaces one after the other. Its HTTP API listens only on the node's loopback interface and Docker
 * bridge, its DNS only on the bridge, for the node's containers.
 */
export class Consul extends pulumi.ComponentResource {
  /**
   * Address of the HTTP API for the node's containers that use the host's network: `127.0.0.1:8500`. A plain string, so
   * that replacing the agent does not replace the containers that use it.
   */
  readonly httpAddress: string;

  /** Address of DNS, for the node and its containers. */
  readonly dnsAddress: pulumi.Output<string>;

  /** The Docker URL of the node, known once the agent runs. */
  readonly host: pulumi.Output<string>;

  /** The container's ID. */
  readonly containerId: pulumi.Output<string>;

  constructor(name: string, args: ConsulArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:Consul", name, {}, opts);
    const { node, servers } = args;
    const { name: nodeName } = node;
    const secrets = new SecretsVolume(
      name,
      {
        node,
        container: CONTAINER,
        image: args.image,
        files: pulumi
          .all([args.tokens.secrets, args.gossipKey, args.certificates.of(nodeName)])
          .apply(([secrets, gossipKey, tls]) =>
            consulFiles(secrets, { node: nodeName, server: servers.includes(node), gossipKey, tls }),
          ),
      },
      this,
    );
    const data = new docker.Volume(name, { name: `${CONTAINER}-data` }, { parent: this, ...storedOn(node) });
    const container = new docker.Container(
      name,
      {
        name: CONTAINER,
        image: args.image,
        networkMode: "host",
        restart: restartPolicy,
        command: pulumi
          .all([node.address, node.bridgeAddress, servers.map(({ address }) => address)])
          .apply(([address, bridge, serverAddresses]) =>
            agentArguments({ ...args, name: node.name, address, bridge, servers: serverAddresses }),
          ),
        envs: [
          pulumi.interpolate`NOT_RECURSOR=${node.bridgeAddress}`,
          // For whoever runs `consul` in the container.
          `CONSUL_HTTP_ADDR=127.0.0.1:${args.httpPort}`,
          "CONSUL_HTTP_TOKEN_FILE=/secrets/operator",
        ],
        labels: [ownerLabel(), { label: "SERVICE_IGNORE", value: "true" }],
        capabilities: { drops: ["ALL"], adds: ["CAP_NET_BIND_SERVICE"] },
        securityOpts: ["no-new-privileges:true"],
        readOnly: true,
        tmpfs: { "/tmp": "" },
        memory: 1024,
        memorySwap: 1024,
        volumes: [{ volumeName: data.name, containerPath: "/data" }, secrets.mount],
        healthcheck: {
          // Answered only if there is a leader, and without a token, which the agent has before its cluster knows it.
          tests: ["CMD", "env", "-u", "CONSUL_HTTP_TOKEN_FILE", "consul", "catalog", "services"],
          interval: "3s",
          timeout: "3s",
          retries: 10,
          startPeriod: "0s",
        },
        logOpts: { "max-size": "10m", "max-file": "3" },
      },
      { parent: this, ...placedOn(node), ...replacesLeftover(node), deleteBeforeReplace: true },
    );
    new ConsulMember(
      name,
      {
        node: node.name,
        address: node.address,
        host: node.host,
        servers: servers.map(({ host }) => host),
        sshOpts: node.sshOpts,
        container: CONTAINER,
        containerId: container.id,
        httpPort: args.httpPort,
      },
      { parent: this },
    );
    this.containerId = container.id;
    this.host = pulumi.all([node.host, container.id]).apply(([host]) => host);
    this.httpAddress = `127.0.0.1:${args.httpPort}`;
    this.dnsAddress = pulumi.interpolate`${node.bridgeAddress}:${args.dnsPort}`;
    this.registerOutputs({ httpAddress: this.httpAddress, dnsAddress: this.dnsAddress });
  }
}

interface Agent {
  readonly name: string;
  readonly address: string;
  readonly bridge: string;
  /** Addresses of the servers. An agent whose address is not listed is a client. */
  readonly servers: readonly string[];
  readonly httpPort: number;
  readonly dnsPort: number;
}

/** The arguments of `consul agent` on a node. */
export function agentArguments({ name, address, bridge, servers, httpPort, dnsPort }: Agent): string[] {
  const server = servers.includes(address);
  const settings = {
    node_name: name,
    server,
    ...(server && { bootstrap_expect: servers.length }),
    retry_join: servers.filter((other) => other !== address),
    // Keep the services of an agent that restarts: it comes back with them.
    leave_on_terminate: false,
    data_dir: "/data",
    bind_addr: address,
    addresses: { http: `127.0.0.1 ${bridge}`, dns: bridge },
    ports: { http: httpPort, dns: dnsPort },
    // Pulumi decides which nodes are servers. Keep a dead server in the configuration, so that it votes again as soon as it
    // is back: with it removed, losing another server would cost the quorum.
    autopilot: { cleanup_dead_servers: false },
    // Servers on a LAN can elect a leader without waiting for slow links.
    performance: { raft_multiplier: 1, leave_drain_time: "1s" },
    // Detects a dead node after about 3 s instead of 6 (one probe, then suspicion_mult × probe_interval).
    gossip_lan: { probe_interval: "500ms", probe_timeout: "300ms" },
    // Every container can read it. A check that follows a redirect would fetch, from this node, what containers cannot reach.
    discard_check_output: true,
    // Any server may answer, so DNS keeps working during an election.
    dns_config: { allow_stale: true, only_passing: true },
    disable_update_check: true,
    log_level: "WARN",
  };
  return ["-ui", `-hcl=${JSON.stringify(settings)}`];
}
