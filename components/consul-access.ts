import * as pulumi from "@pulumi/pulumi";

import { ConsulAcl, ConsulGuard } from "../providers/consul-acl";
import { CONTAINER, type Consul } from "./consul";
import type { ConsulCertificates } from "./consul-certificates";
import type { ConsulTokens } from "./consul-tokens";
import type { DockerNode } from "./nodes/node";

export interface ConsulAccessArgs {
  /** The agents of the cluster, those that are servers first. */
  readonly agents: readonly { readonly node: DockerNode; readonly consul: Consul }[];
  readonly tokens: ConsulTokens;
  readonly certificates: ConsulCertificates;
}

/** Access control on a cluster of Consul: who has a token may do what the token is for, and who has none may ask DNS. */
export class ConsulAccess extends pulumi.ComponentResource {
  /** Tokens, known once Consul knows them. */
  readonly registratorToken: pulumi.Output<string>;
  readonly loadBalancerToken: pulumi.Output<string>;
  readonly autoscalerToken: pulumi.Output<string>;
  readonly operatorToken: pulumi.Output<string>;
  /** Changes with the tokens. */
  readonly version: pulumi.Output<string>;

  private readonly inputs;
  private readonly containers;

  constructor(
    private readonly name: string,
    { agents, tokens, certificates }: ConsulAccessArgs,
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("switchyard:index:ConsulAccess", name, {}, opts);
    this.inputs = {
      hosts: agents.map(({ consul }) => consul.host),
      sshOpts: agents[0]?.node.sshOpts,
      container: CONTAINER,
      version: tokens.version,
      certificates: certificates.version,
    };
    this.containers = agents.map(({ consul }) => consul.containerId);
    const acl = new ConsulAcl(name, this.inputs, { parent: this });
    const known = (role: "registrator" | "loadBalancer" | "autoscaler" | "operator") =>
      pulumi.all([tokens.secrets, acl.id]).apply(([secrets]) => secrets[role]);
    this.registratorToken = known("registrator");
    this.loadBalancerToken = known("loadBalancer");
    this.autoscalerToken = known("autoscaler");
    this.operatorToken = known("operator");
    this.version = tokens.version;
    this.registerOutputs();
  }

  /** Rejects whatever has no token, once these resources have theirs. */
  enforceAfter(resources: readonly pulumi.Resource[]): void {
    new ConsulGuard(
      this.name,
      { ...this.inputs, containers: this.containers },
      { parent: this, dependsOn: [...resources] },
    );
  }
}
