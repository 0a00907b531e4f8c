/** The rules, in nftables' language. Pure. */
import { FIRST_CHOSEN_PORT, type Instances } from "./instances";
import type { Options } from "./options";

/** The tables that hold all rules. No other program's are touched. */
export const tables = ["inet switchyard", "bridge switchyard"] as const;

/** Ports at which nodes serve each other: Swarm's API, gossip and overlay networks, and Consul's RPC and gossip. */
const betweenNodes = "2377, 4789, 7946, 8300-8302";
/** Where clouds tell a machine its secrets. Port 53 is a resolver. */
const metadata = { ipv4: "169.254.169.254", ipv6: "fd00:ec2::254" };

/** For so long nodes count as lost unless it is said again, so that it ends even if this program is killed. */
const lostSeconds = 30;

/** Replaces a table in one step, so that no packet meets half of its rules. */
const replacing = (table: string, content: string): string =>
  `table ${table}\ndelete table ${table}\ntable ${table} {\n${content}}\n`;

/**
 * The rules for traffic between networks. They only reject: what they accept still has to pass Docker's and the user's own.
 * Connections count by their first packet's direction and not by their state, so that one that was faster than a new
 * instance's rules ends with its next packet.
 */
export function routedRules(
  { nodes, admins, bridge, statsPort }: Options,
  instances: Instances,
  lost: readonly string[] = [],
): string {
  const others = `meta l4proto { tcp, udp } th dport { ${betweenNodes}, ${statsPort}, ${FIRST_CHOSEN_PORT}-65535 }`;
  return replacing(
    "inet switchyard",
    `${addressSets("nodes", nodes)}
${addressSets("admins", admins)}
${addressSets("lost", lost, `timeout ${lostSeconds}s`)}
${set("instance_ports_ipv4", "tcp dport", instances.ports.ipv4)}
${set("instance_ports_ipv6", "tcp dport", instances.ports.ipv6)}
${set("instance_addresses", "ip daddr", instances.addresses)}
  # Before Docker translates addresses: what it would pass on to instances, or its proxy would.
  chain published {
    type filter hook prerouting priority mangle - 10; policy accept;
    meta nfproto ipv4 tcp dport @instance_ports_ipv4 goto instance
    meta nfproto ipv6 tcp dport @instance_ports_ipv6 goto instance
  }

  chain instance {
    iif != lo ct direction original fib daddr type local goto only_nodes
  }

  # To the node itself.
  chain input {
    type filter hook input priority filter - 10; policy accept;
    ct state established,related accept
    iif lo accept
    meta l4proto { tcp, udp } th dport { ${betweenNodes} } goto only_nodes
    tcp dport ${statsPort} goto only_admins
    # Consul's HTTP API and DNS are for the node and its containers.
    ip daddr ${bridge} meta iifkind != "bridge" goto rejected
  }

  # To and from containers.
  chain forward {
    type filter hook forward priority filter - 10; policy accept;
    ip daddr @instance_addresses ct direction original goto only_nodes
    # An instance in a network has an address on this bridge as well. Docker translates whatever was published.
    oifname "docker_gwbridge" ct direction original ct status & dnat != dnat goto rejected
    ct state established,related accept
    # To other nodes, which would take a container for its node.
    ip daddr @nodes_ipv4 ${others} goto rejected
    ip6 daddr @nodes_ipv6 ${others} goto rejected
    ip daddr ${metadata.ipv4} th dport != 53 goto rejected
    ip6 daddr ${metadata.ipv6} th dport != 53 goto rejected
  }

  # Over connections that a node has left open when it was lost. By its answer to a new one, which gets no further, it is
  # known to be back.
  chain output {
    type filter hook output priority filter - 10; policy accept;
    ip daddr @lost_ipv4 tcp flags & (syn | rst) == 0 reject with tcp reset
    ip6 daddr @lost_ipv6 tcp flags & (syn | rst) == 0 reject with tcp reset
  }

  chain only_nodes {
    ip saddr @nodes_ipv4 accept
    ip6 saddr @nodes_ipv6 accept
    goto rejected
  }

  chain only_admins {
    ip saddr @admins_ipv4 accept
    ip6 saddr @admins_ipv6 accept
    goto only_nodes
  }

  chain rejected {
    meta l4proto tcp reject with tcp reset
    drop
  }
`,
  );
}

/** The rules for traffic between containers on one bridge, which the others do not see. */
export function bridgedRules({ addresses }: Instances): string {
  return replacing(
    "bridge switchyard",
    `${set("instance_addresses", "ip daddr", addresses)}
  chain forward {
    type filter hook forward priority filter; policy accept;
    ip daddr @instance_addresses tcp flags & (syn | ack) == syn drop
  }
`,
  );
}

/** Replaces the lost nodes in {@link routedRules} that are in force, and starts their time anew. */
export function lostRules(lost: readonly string[]): string {
  const sets = Object.entries(byFamily(lost)).map(
    ([family, addresses]) => [`inet switchyard lost_${family}`, addresses] as const,
  );
  const flushed = sets.map(([name]) => `flush set ${name}\n`);
  const added = sets
    .filter(([, addresses]) => addresses.length > 0)
    .map(([name, addresses]) => `add element ${name} { ${addresses.join(", ")} }\n`);
  return [...flushed, ...added].join("");
}

const byFamily = (networks: readonly string[]) => ({
  ipv4: networks.filter((each) => !each.includes(":")),
  ipv6: networks.filter((each) => each.includes(":")),
});

function addressSets(name: string, networks: readonly string[], kind?: string): string {
  const { ipv4, ipv6 } = byFamily(networks);
  return `${set(`${name}_ipv4`, "ip saddr", ipv4, kind)}\n${set(`${name}_ipv6`, "ip6 saddr", ipv6, kind)}`;
}

// With `type ipv4_addr`, a set from nftables 1.1 makes `nft list` of 1.0.6 (Debian 12) crash.
const set = (
  name: string,
  type: string,
  elements: readonly (string | number)[],
  kind = "flags interval\n    auto-merge",
): string =>
  `  set ${name} {
    typeof ${type}
    ${kind}${elements.length === 0 ? "" : `\n    elements = { ${[...new Set(elements)].join(", ")} }`}
  }`;
