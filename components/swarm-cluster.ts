import * as pulumi from "@pulumi/pulumi";

import { Swarm } from "../providers/swarm/swarm";
import { SwarmMember } from "../providers/swarm/member";
import { quorum, type DockerNode } from "./nodes/node";

export interface SwarmClusterArgs {
  /** The nodes, the first one first of all; at least one. */
  readonly members: readonly [Member, ...Member[]];
}

interface Member {
  readonly node: DockerNode;
  /** What must be on the node before instances come to it, and stay until they have left. */
  readonly after: pulumi.Resource[];
}

/** The Swarm of all nodes, with managers on the first 1, 3 or 5: Docker's own way to place and replace instances. */
export class SwarmCluster extends pulumi.ComponentResource {
  /** Docker URL of a manager. */
  readonly manager: pulumi.Output<string>;
  readonly sshOpts: pulumi.Output<readonly string[]> | undefined;
  /** Known once every node is a member, so that the first instances are spread over all of them. */
  readonly swarmId: pulumi.Output<string>;

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
          swarmId: swarm.swarmId,
          role: managers.includes(node) ? "manager" : "worker",
          managers: managers.map(({ host }) => host),
        },
        // The first one goes last: it is the manager through which the others leave.
        {
          parent: this,
          dependsOn: [...after, ...joined.slice(0, 1)],
          ...(node.machine && { replaceWith: [node.machine] }),
        },
      );
      joined.push(member);
    }
    this.manager = first.host;
    this.sshOpts = first.sshOpts;
    const nodeIds = pulumi.all(joined.map(({ nodeId }) => nodeId));
    this.swarmId = pulumi.all([swarm.swarmId, nodeIds]).apply(([id]) => id);
    this.registerOutputs({ swarmId: this.swarmId });
  }
}
