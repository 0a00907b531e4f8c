import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { DockerEngine } from "../../../providers/engine";
import { FreePorts } from "../../../providers/free-ports";
import { portKeys } from "../../ports";
import { configError } from "../../schema";
import type { DockerNode } from "../node";
import type { Nodes, NodesConfig } from "../target";

export function createNodes({ dockerHost, nodes, ports }: NodesConfig): Nodes {
  if (nodes !== 1) {
    const problem = `is ${nodes}, but target local has only one node`;
    throw configError("nodes", problem, "set it to 1, or choose another target");
  }
  return [new LocalNode("local", { dockerHost, ports: portKeys(ports) })];
}

export interface LocalNodeArgs {
  /** Docker URL, for example `unix:///var/run/docker.sock`. */
  readonly dockerHost: string;
  /** Ports that its containers use on the host's network, by configuration key. The first `up` needs them free. */
  readonly ports: Readonly<Record<string, number>>;
}

/**
 * This machine's Docker Engine as a node. Only its own containers need to reach the node, so its private address is that of
 * the Docker bridge, which stays the same when a laptop changes networks.
 */
export class LocalNode extends pulumi.ComponentResource implements DockerNode {
  readonly name: string;
  readonly address: pulumi.Output<string>;
  readonly publicAddress: pulumi.Output<string>;
  readonly host: pulumi.Output<string>;
  readonly bridgeAddress: pulumi.Output<string>;
  readonly platform: string;
  readonly provider: docker.Provider;

  constructor(name: string, args: LocalNodeArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:LocalNode", name, {}, opts);
    const engine = new DockerEngine(name, { host: args.dockerHost }, { parent: this });
    const ports = new FreePorts(
      name,
      { host: engine.host, ports: args.ports, addresses: ["127.0.0.1", engine.bridgeAddress] },
      { parent: this },
    );
    this.name = name;
    // Everything created on the node waits for the check of its ports.
    this.host = pulumi.all([engine.host, ports.id]).apply(([host]) => host);
    this.bridgeAddress = engine.bridgeAddress;
    this.address = engine.bridgeAddress;
    this.publicAddress = pulumi.output("localhost");
    this.platform = `linux/${process.arch === "x64" ? "amd64" : process.arch}`;
    this.provider = new docker.Provider(name, { host: this.host }, { parent: this });
    this.registerOutputs({ address: this.address, publicAddress: this.publicAddress });
  }
}
