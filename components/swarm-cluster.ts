import * as pulumi from "@pulumi/pulumi";

import { Swarm } from "../providers/swarm/swarm";
import { SwarmMember } from "../providers/swarm/member";
import { quorum, type DockerNode } from "./nodes/node";

export interface SwarmClusterArgs {
  /** The nodes, at least one. The first becomes the first manager. */
  readonly members: readonly [Member, ...Member[]];
}

interface Member {
  readonly node: DockerNode;
  /** Resources that must exist before the node gets instances, and until they have moved away. */
  readonly after: pulumi.Resource[];
}

/** A Swarm of all nodes, with managers on the first 1, 3 or 5. It places and replaces instances. */
export class SwarmCluster extends pulumi.ComponentResource {
  /** Docker URL of the first manager. */
  readonly manager: pulumi.Output<string>;
  readonly sshOpts: pulumi.Output<readonly string[]> | undefined;
  /** The resource's own ID: unlike an output, a preview still knows it when the Swarm is updated. */
  readonly swarmId: pulumi.Output<string>;

  /** The nodes with their IDs in the Swarm, which a preview knows likewise. */
  readonly nodes: readonly (Pick<DockerNode, "name" | "host" | "sshOpts"> & { readonly id: pulumi.Output<string> })[]; // prettier-ignore

  constructor(name: string, { members }: SwarmClusterArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:SwarmCluster", name, {}, opts);
    const [{ node: first }] = members;
    const managers = quorum(members).map(({ node }) => node);

    const swarm = new Swarm(
      name,
      {
        host: first.host,
        sshOpts: first.sshOpts,
        advertiseAddr: first.address,
        // Not their hosts: it would wait until all machines have changed.
        managers: managers.map(({ host, url = host }) => url),
      },
      { parent: this },
    );
    const joined: SwarmMember[] = [];
    for (const { node, after } of members) {
      const member = new SwarmMember(
        `${name}-${node.name}`,
        {
          host: node.host,
          sshOpts: node.sshOpts,
          advertiseAddr: node.address,
          swarmId: swarm.id,
          role: managers.includes(node) ? "manager" : "worker",
          managers: managers.map(({ host }) => host),
        },
        // Delete the first node last: the others leave the Swarm through it.
        {
          parent: this,
          dependsOn: [...after, ...joined.slice(0, 1)],
          ...(node.machine && { replaceWith: [node.machine] }),
        },
      );
      joined.push(member);
    }
    this.nodes = joined.map(({ id }, index) => ({ ...(members[index] ?? members[0]).node, id }));
    this.manager = first.host;
    this.sshOpts = first.sshOpts;
    this.swarmId = swarm.id;
    this.registerOutputs({ swarmId: this.swarmId });
  }
}
