import { createHash } from "node:crypto";
import * as pulumi from "@pulumi/pulumi";
import { DynamicResource } from "../providers/dynamic-resource";
import type { DockerNode } from "./nodes/node";
import { makeAuthority, makeCertificate, type Certificate } from "./x509";

/** The name in the certificate of each node's agent. */
type Names = Readonly<Record<string, string>>;

export interface Certificates {
  /** Oldest first. Every agent trusts all of them. */
  readonly authorities: readonly Certificate[];
  /** By node. */
  readonly agents: Readonly<Record<string, Certificate & { readonly name: string }>>;
}

/** What the agent of a node needs, in PEM. */
export interface AgentTls {
  /** All that it trusts. */
  readonly authorities: string;
  readonly certificate: string;
  readonly key: string;
}

interface Inputs {
  readonly names: Names;
}

interface State extends Inputs, Certificates {
  readonly version: string;
}

const DAY_MS = 86_400_000;
const YEAR_MS = 365 * DAY_MS;
const AUTHORITY_LIFETIME_MS = 20 * YEAR_MS;
const AGENT_LIFETIME_MS = 8 * YEAR_MS;
/** How far the nodes' clocks may be behind. */
const BACKDATED_MS = DAY_MS;
/** How long all agents trust an authority before it signs, and what it has left when it does. */
const OVERLAP_MS = 30 * DAY_MS;

const validity = (now: number, lifetimeMs: number) => ({ from: now - BACKDATED_MS, until: now + lifetimeMs });

const isHalfOver = ({ from, until }: Certificate, now: number): boolean => now > (from + until) / 2;

const needsAuthority = (authorities: readonly Certificate[], now: number): boolean =>
  authorities.every((authority) => isHalfOver(authority, now));

const needsCertificate = ({ agents }: Certificates, node: string, name: string, now: number): boolean => {
  const found = agents[node];
  return found?.name !== name || isHalfOver(found, now);
};

/** Whether something is missing, has less than half of its time left, or is of a node that is gone. */
export function isRenewalDue(kept: Certificates, names: Names, now: number): boolean {
  return (
    needsAuthority(kept.authorities, now) ||
    Object.keys(kept.agents).some((node) => names[node] === undefined) ||
    Object.entries(names).some(([node, name]) => needsCertificate(kept, node, name, now))
  );
}

/** Makes what is missing or due. A new authority is only trusted at first, and signs from the first renewal 30 days later. */
export async function renew(kept: Certificates, names: Names, now: number): Promise<Certificates> {
  const authorities = kept.authorities.filter(({ until }) => until > now);
  const newest = needsAuthority(authorities, now)
    ? await makeAuthority("Switchyard Consul", validity(now, AUTHORITY_LIFETIME_MS))
    : undefined;
  if (newest !== undefined) authorities.push(newest);
  const known = authorities.filter(
    ({ from, until }) => from + BACKDATED_MS + OVERLAP_MS < now && now + OVERLAP_MS < until,
  );
  const signer = known.at(-1) ?? authorities.at(-1);
  if (signer === undefined) throw new Error("there is no authority");
  const agents = Object.entries(names).map(async ([node, name]) => {
    const found = kept.agents[node];
    if (found !== undefined && !needsCertificate(kept, node, name, now)) return [node, found] as const;
    return [
      node,
      { name, ...(await makeCertificate(name, signer, validity(now, AGENT_LIFETIME_MS))) },
    ] as const;
  });
  return { authorities, agents: Object.fromEntries(await Promise.all(agents)) };
}

async function stateOf(kept: Certificates, { names }: Inputs): Promise<State> {
  const { authorities, agents } = await renew(kept, names, Date.now());
  const all = [...authorities, ...Object.values(agents)].map(({ certificate }) => certificate);
  return {
    names,
    authorities,
    agents,
    version: createHash("sha256").update(all.join("")).digest("hex").slice(0, 16),
  };
}

export const consulCertificatesProvider: pulumi.dynamic.ResourceProvider<Inputs, State> = {
  async create(inputs) {
    return { id: "certificates", outs: await stateOf({ authorities: [], agents: {} }, inputs) };
  },
  diff(_id, olds, { names }) {
    return Promise.resolve({ changes: isRenewalDue(olds, names, Date.now()) });
  },
  async update(_id, olds, news) {
    return { outs: await stateOf(olds, news) };
  },
};

export interface ConsulCertificatesArgs {
  readonly nodes: readonly Pick<DockerNode, "name">[];
  /** The nodes that run Consul servers. */
  readonly servers: readonly Pick<DockerNode, "name">[];
}

/**
 * Certificates for TLS between the agents of Consul, by an authority of the stack's own. They are secrets in the stack's
 * state, and renewed by an update when half of their time is over.
 */
export class ConsulCertificates extends DynamicResource {
  declare readonly authorities: pulumi.Output<Certificates["authorities"]>;
  declare readonly agents: pulumi.Output<Certificates["agents"]>;
  /** Changes with the certificates. */
  declare readonly version: pulumi.Output<string>;

  constructor(name: string, { nodes, servers }: ConsulCertificatesArgs, opts?: pulumi.CustomResourceOptions) {
    // Agents accept only servers with this name, that of Consul's default datacenter and domain.
    const isServer = (node: string) => servers.some((server) => server.name === node);
    const names: Names = Object.fromEntries(
      nodes.map((node) => [node.name, `${isServer(node.name) ? "server" : "client"}.dc1.consul`]),
    );
    super(
      { file: __filename, provider: "consulCertificatesProvider" },
      name,
      { names, authorities: undefined, agents: undefined, version: undefined },
      pulumi.mergeOptions(opts, { additionalSecretOutputs: ["authorities", "agents"] }),
      "ConsulCertificates",
    );
  }

  /** What the agent of a node needs. */
  of(node: string): pulumi.Output<AgentTls> {
    return pulumi.all([this.authorities, this.agents]).apply(([authorities, agents]) => {
      const own = agents[node];
      if (own === undefined) throw new Error(`node ${node} has no certificate`);
      const { certificate, key } = own;
      return { authorities: authorities.map((each) => each.certificate).join(""), certificate, key };
    });
  }
}
