import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { portKeys, type Config } from "../config/index";
import { ConfigError } from "../config/value";
import { DockerEngine } from "../../providers/engine";
import { FreePorts } from "../../providers/free-ports";
import type { Nodes } from "./index";
import type { DockerNode } from "./node";

/** Target `local`: the Docker Engine at hand. */
export function createNodes({ dockerHost, nodes, ports }: Config): Nodes {
  if (nodes !== 1) {
    throw new ConfigError(
      "nodes",
      `is ${nodes}, but target local is one node`,
      "set it to 1, or choose another target",
    );
  }
  return [new LocalNode("local", { dockerHost, ports: portKeys(ports) })];
}

export interface LocalNodeArgs {
  /** Docker Engine, for example `unix:///var/run/docker.sock`. */
  readonly dockerHost: string;
  /** The ports that its containers take in the host's network, by configuration key; they must be free at first. */
  readonly ports: Readonly<Record<string, number>>;
}

/**
 * The Docker Engine at hand. Its own containers are all that need to reach it, so its private address is that
 * of the Docker bridge, which stays when a laptop changes networks.
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
    // Whatever is made on the node waits for its ports.
    this.host = pulumi.all([engine.host, ports.id]).apply(([host]) => host);
    this.bridgeAddress = engine.bridgeAddress;
    this.address = engine.bridgeAddress;
    this.publicAddress = pulumi.output("localhost");
    this.platform = `linux/${process.arch === "x64" ? "amd64" : process.arch}`;
    this.provider = new docker.Provider(name, { host: this.host }, { parent: this });
    this.registerOutputs({ address: this.address, publicAddress: this.publicAddress });
  }
}
