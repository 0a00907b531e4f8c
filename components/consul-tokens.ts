import * as pulumi from "@pulumi/pulumi";

import { versionOf, type ConsulSecrets } from "./consul-rights";
import type { DockerNode } from "./nodes/node";
import { RandomToken } from "./random-token";

export interface ConsulTokensArgs {
  readonly nodes: readonly Pick<DockerNode, "name">[];
  /** Another generation is another set of tokens. */
  readonly generation: number;
}

/** The tokens for Consul: one for each role, and one for the agent of each node. */
export class ConsulTokens extends pulumi.ComponentResource {
  readonly secrets: pulumi.Output<ConsulSecrets>;
  /** Changes with the tokens and their rights. */
  readonly version: pulumi.Output<string>;

  constructor(name: string, { nodes, generation }: ConsulTokensArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:ConsulTokens", name, {}, opts);
    const make = (role: string) => new RandomToken(`${name}-${role}`, { generation }, { parent: this });
    const management = make("management");
    const agents = Object.fromEntries(nodes.map((node) => [node.name, make(`agent-${node.name}`).token]));
    this.secrets = pulumi.secret(
      pulumi.output({
        management: management.token,
        previousManagement: management.previous,
        operator: make("operator").token,
        registrator: make("registrator").token,
        loadBalancer: make("load-balancer").token,
        autoscaler: make("autoscaler").token,
        agents,
      }),
    );
    this.version = pulumi.unsecret(this.secrets.apply(versionOf));
    this.registerOutputs();
  }
}
