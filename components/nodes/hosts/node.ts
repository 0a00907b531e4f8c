import { homedir, networkInterfaces } from "node:os";
import { join } from "node:path";

import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { DockerEngine } from "../../../providers/engine";
import { FreePorts } from "../../../providers/free-ports";
import { portKeys } from "../../ports";
import { configError } from "../../schema";
import type { DockerNode } from "../node";
import type { Nodes, NodesConfig } from "../target";
import { parseHosts, type HostConfig } from "./settings";

export function createNodes(config: NodesConfig): Nodes {
  const sshOpts = config.sshKey === undefined ? undefined : ["-i", config.sshKey, "-o", "IdentitiesOnly=yes"];
  const ports = portKeys(config.ports);
  const nodes: HostNode[] = [];
  const all = pulumi.output(Promise.resolve().then(() => pulumi.all(nodes.map(({ checked }) => checked))));
  for (const host of parseHosts(config.hosts))
    nodes.push(new HostNode(host.name, { ...host, ports, ...(sshOpts && { sshOpts }), checked: all }));
  const [first, ...others] = nodes;
  if (first === undefined) {
    throw configError("hosts", "is empty", "list the machines, as Pulumi.hosts.yaml does");
  }
  return [first, ...others];
}

export interface HostNodeArgs extends HostConfig {
  /** Options of `ssh`. Default: the user's own configuration. */
  readonly sshOpts?: readonly string[];
  /** Ports that its containers use on the host's network, by configuration key. The first `up` needs them free. */
  readonly ports: Readonly<Record<string, number>>;
  /** Known once all of the stack's machines are checked: until then, nothing is created on this one. */
  readonly checked?: pulumi.Output<unknown>;
}

/** A machine that the user already has, with a Docker Engine that is reachable from here. */
export class HostNode extends pulumi.ComponentResource implements DockerNode {
  readonly name: string;
  readonly address: pulumi.Output<string>;
  readonly publicAddress: pulumi.Output<string>;
  readonly host: pulumi.Output<string>;
  readonly sshOpts?: pulumi.Output<readonly string[]>;
  readonly bridgeAddress: pulumi.Output<string>;
  readonly platform: string;
  readonly provider: docker.Provider;
  /** Known once its engine is this stack's and its ports are free. Unlike an ID, a preview knows it. */
  readonly checked: pulumi.Output<unknown>;

  constructor(name: string, args: HostNodeArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:HostNode", name, {}, opts);
    const { sshOpts } = args;
    const reach = { host: args.docker, ...(sshOpts && { sshOpts }) };
    const engine = new DockerEngine(name, reach, { parent: this });
    const ports = new FreePorts(
      name,
      {
        ...reach,
        host: engine.host,
        ports: args.ports,
        addresses: addressesToTry(args, engine.bridgeAddress),
      },
      { parent: this },
    );
    this.name = name;
    this.checked = ports.urn;
    // Everything created on the node waits for the checks.
    this.host = pulumi.all([engine.host, ports.id, args.checked]).apply(([host]) => host);
    if (sshOpts) this.sshOpts = pulumi.output(sshOpts);
    this.bridgeAddress = engine.bridgeAddress;
    this.address = pulumi.output(args.address);
    this.publicAddress = pulumi.output(args.publicAddress);
    this.platform = args.platform;
    this.provider = new docker.Provider(
      name,
      { host: this.host, ...(sshOpts && { sshOpts: [...sshOpts] }), ...certificates(args.docker) },
      { parent: this },
    );
    this.registerOutputs({ address: this.address, publicAddress: this.publicAddress });
  }
}

/**
 * The addresses on which the node's ports must be free. Over SSH the check runs on the machine itself. Otherwise it runs from
 * here, which cannot reach the machine's loopback and bridge unless it is this machine.
 */
function addressesToTry(
  { docker, address }: HostConfig,
  bridge: pulumi.Output<string>,
): pulumi.Input<string>[] {
  const here = Object.values(networkInterfaces()).some((all) => all?.some((own) => own.address === address));
  return docker.startsWith("ssh://") || here ? [address, "127.0.0.1", bridge] : [address];
}

/** For TLS (port 2376): the folder where `docker` looks for certificates. */
function certificates(url: string): { certPath?: string } {
  if (!url.startsWith("tcp://")) return {};
  const { DOCKER_CERT_PATH: folder, DOCKER_TLS_VERIFY: verify } = process.env;
  const isTls = verify === "1" || /:2376$|^tcp:\/\/[^:]*$/.test(url);
  return isTls ? { certPath: folder ?? join(homedir(), ".docker") } : {};
}
