import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { ConsulMember } from "../providers/consul-member";
import { placedOn, type DockerNode } from "./nodes/node";

export interface ConsulArgs {
  readonly node: DockerNode;
  /** The nodes whose agents are the servers; on any other the agent is a client of theirs. */
  readonly servers: readonly DockerNode[];
  /** Encrypts what the agents say to each other: 32 bytes in base64, the same for all. */
  readonly gossipKey: pulumi.Input<string>;
  readonly image: pulumi.Input<string>;
  /** Port of the HTTP API and page. */
  readonly httpPort: number;
  /** Port of DNS on the node's Docker bridge. */
  readonly dnsPort: number;
}

/** What the container is called; as names are in the whole runtime: `docker exec consul consul members`. */
const CONTAINER = "consul";

/**
 * Consul on one node, as a server or as a client of the servers. Its HTTP API listens on the node itself and on the
 * node's Docker bridge only; DNS on the bridge, for the node's containers.
 */
export class Consul extends pulumi.ComponentResource {
  /**
   * Where the node's own containers of the host network reach the HTTP API: `127.0.0.1:8500`. Known from the start, so
   * that who uses it is not replaced with the agent.
   */
  readonly httpAddress: string;

  constructor(name: string, args: ConsulArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:Consul", name, {}, opts);
    const { node, servers } = args;
    const placedHere = { parent: this, ...placedOn(node) };

    const data = new docker.Volume(name, { name: `${CONTAINER}-data` }, placedHere);
    const container = new docker.Container(
      name,
      {
        name: CONTAINER,
        image: args.image,
        networkMode: "host",
        restart: "unless-stopped",
        command: pulumi
          .all([node.address, node.bridgeAddress, servers.map(({ address }) => address)])
          .apply(([address, bridge, serverAddresses]) =>
            agentArguments({ ...args, name: node.name, address, bridge, servers: serverAddresses }),
          ),
        envs: [
          pulumi.interpolate`NOT_RECURSOR=${node.bridgeAddress}`,
          pulumi.interpolate`GOSSIP_KEY=${args.gossipKey}`,
        ],
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
      { ...placedHere, deleteBeforeReplace: true },
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
        httpPort: args.httpPort,
      },
      { parent: this, dependsOn: container },
    );
    this.httpAddress = `127.0.0.1:${args.httpPort}`;
    this.registerOutputs({ httpAddress: this.httpAddress });
  }
}

interface Agent {
  readonly name: string;
  readonly address: string;
  readonly bridge: string;
  /** Addresses of the servers; one that is not among them is a client. */
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
    // An agent that restarts comes back with its services: they are not to be taken away for that.
    leave_on_terminate: false,
    data_dir: "/data",
    bind_addr: address,
    addresses: { http: `127.0.0.1 ${bridge}`, dns: bridge },
    ports: { http: httpPort, dns: dnsPort },
    // Who is a server is the program's business. A dead one that comes back votes at once, as if it had never been
    // away: were it struck off meanwhile, the loss of another one would leave nobody to elect a leader.
    autopilot: { cleanup_dead_servers: false },
    // Servers on a LAN need not wait for slow links before they elect one.
    performance: { raft_multiplier: 1, leave_drain_time: "1s" },
    // A dead node is known as such after about 3 s instead of 6 (suspicion_mult × probe_interval, and a probe before it).
    gossip_lan: { probe_interval: "500ms", probe_timeout: "300ms" },
    // Answers come from any server, so that DNS goes on during an election.
    dns_config: { allow_stale: true, only_passing: true },
    disable_update_check: true,
    log_level: "WARN",
  };
  return ["-ui", `-hcl=${JSON.stringify(settings)}`];
}
