import * as pulumi from "@pulumi/pulumi";
import { DynamicResource } from "../dynamic-resource";
import type Docker from "dockerode";
import { messageOf } from "../../lib/errors";
import { api, connect, dockerCommand, sameSsh, unless } from "../client";
import {
  GATEWAY_LABEL,
  hasGatewayNetwork,
  localSwarm,
  managerEndpoint,
  removeGatewayNetwork,
} from "./engine";
import { changeNode, drain, nodeOf, until, type SwarmRole } from "./nodes";

export interface SwarmMemberArgs {
  /** The Docker URL of the node's engine. */
  readonly host: pulumi.Input<string>;
  /** Options of `ssh` for `ssh://` URLs of the node and the managers. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /** The address at which other nodes reach it, the only one on which it listens. */
  readonly advertiseAddr: pulumi.Input<string>;
  /** The Swarm to join. */
  readonly swarmId: pulumi.Input<string>;
  readonly role: pulumi.Input<SwarmRole>;
  /** The Docker URLs of the Swarm's managers, including this node's if it is one. */
  readonly managers: pulumi.Input<pulumi.Input<string>[]>;
}

interface MemberInputs {
  readonly host: string;
  readonly sshOpts?: readonly string[];
  readonly advertiseAddr: string;
  readonly swarmId: string;
  readonly role: SwarmRole;
  readonly managers: readonly string[];
}

interface MemberState extends MemberInputs {
  readonly nodeId: string;
  /** Whether joining created the gateway network. */
  readonly gatewayMade: boolean;
}

/** A manager of the Swarm other than the node itself; undefined if none answers. */
async function otherManager({ managers, host, swarmId, sshOpts }: MemberInputs): Promise<Docker | undefined> {
  for (const manager of managers) {
    if (manager === host) continue;
    try {
      const docker = connect(manager, { answerTimeoutMs: 5000, sshOpts });
      if ((await api<{ ID: string }>(docker, "GET", "/swarm")).ID === swarmId) return docker;
    } catch {
      // Unreachable, or no longer in this Swarm: try the next one.
    }
  }
  return undefined;
}

/** The manager through which to change the node: preferably another one, because the node may lose that role. */
async function managerFor(inputs: MemberInputs): Promise<Docker> {
  return (await otherManager(inputs)) ?? connect(inputs.host, inputs);
}

async function join(docker: Docker, inputs: MemberInputs): Promise<void> {
  const manager = await otherManager(inputs);
  if (manager === undefined) {
    throw new Error(
      `No manager of the Swarm answers at ${inputs.managers.join(", ")}, so ${inputs.host} cannot join it`,
    );
  }
  const { JoinTokens } = await api<{ JoinTokens: { Manager: string; Worker: string } }>(
    manager,
    "GET",
    "/swarm",
  );
  const { Swarm } = await api<{ Swarm: { NodeAddr: string } }>(manager, "GET", "/info");
  try {
    await api(docker, "POST", "/swarm/join", {
      body: {
        ListenAddr: managerEndpoint(inputs.advertiseAddr),
        AdvertiseAddr: inputs.advertiseAddr,
        RemoteAddrs: [managerEndpoint(Swarm.NodeAddr)],
        JoinToken: inputs.role === "manager" ? JoinTokens.Manager : JoinTokens.Worker,
      },
    });
  } catch (error) {
    throw new Error(
      `Docker at ${inputs.host} could not join the Swarm at ${Swarm.NodeAddr}: ${messageOf(error)}. ` +
        `The nodes must reach each other on TCP 2377 and 7946, and ${inputs.advertiseAddr} must be its own address`,
      { cause: error },
    );
  }
}

/** Gives the node its role, and waits until it is ready for instances. */
async function settleMember(inputs: MemberInputs, nodeId: string): Promise<void> {
  const manager = await managerFor(inputs);
  await changeNode(manager, nodeId, { Role: inputs.role, Availability: "active" });
  await until(`that ${inputs.host} is ready as a ${inputs.role} of the Swarm`, async () => {
    const node = await nodeOf(manager, nodeId);
    return (
      node?.Status.State === "ready" && (node.ManagerStatus !== undefined) === (inputs.role === "manager")
    );
  });
}

export const memberProvider: pulumi.dynamic.ResourceProvider<MemberInputs, MemberState> = {
  async create(inputs) {
    const docker = connect(inputs.host, inputs);
    let local = await localSwarm(docker);
    let gatewayMade = false;
    if (local.LocalNodeState === "inactive") {
      gatewayMade = !(await hasGatewayNetwork(docker));
      await join(docker, inputs);
      local = await localSwarm(docker);
    } else if ((await nodeOf(await managerFor(inputs), local.NodeID)) === undefined) {
      throw new Error(
        `The Docker Engine at ${inputs.host} is in another Swarm. Take it out: ${dockerCommand(inputs, "swarm leave --force")}`,
      );
    } else if (inputs.host === inputs.managers[0]) {
      // The first manager did not join. It removes the network if creating the Swarm made it.
      const { Spec } = await api<{ Spec: { Labels: Record<string, string> | null } }>(
        docker,
        "GET",
        "/swarm",
      );
      gatewayMade = Spec.Labels?.[GATEWAY_LABEL] === "made";
    }
    await settleMember(inputs, local.NodeID);
    return { id: local.NodeID, outs: { ...inputs, nodeId: local.NodeID, gatewayMade } };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of a SwarmMember (${id}) is not supported`);
    const local = await localSwarm(connect(props.host, props));
    return { id: local.LocalNodeState === "active" && local.NodeID === id ? id : "", props };
  },
  diff(_id, olds, news) {
    const replaces = (["host", "advertiseAddr", "swarmId"] as const).filter((key) => olds[key] !== news[key]);
    const same =
      olds.role === news.role &&
      JSON.stringify(olds.managers) === JSON.stringify(news.managers) &&
      sameSsh(olds, news);
    return Promise.resolve({ changes: replaces.length > 0 || !same, replaces, deleteBeforeReplace: true });
  },
  async update(id, olds, news) {
    await settleMember(news, id);
    return { outs: { ...olds, ...news } };
  },
  async delete(id, props) {
    const manager = await otherManager(props);
    // The last manager leaves when the Swarm resource is deleted.
    if (manager === undefined) return;
    await drain(manager, id);
    await changeNode(manager, id, { Role: "worker" });
    const docker = connect(props.host, props);
    try {
      await until("demotion", async () => !(await localSwarm(docker)).ControlAvailable);
      await unless([503], api(docker, "POST", "/swarm/leave", { query: { force: true } }));
      if (props.gatewayMade) await removeGatewayNetwork(docker, props);
    } catch (error) {
      // A node that is down cannot leave: the remaining managers remove it below.
      if ((await nodeOf(manager, id))?.Status.State === "ready") throw error;
    }
    await unless([404], api(manager, "DELETE", `/nodes/${id}`, { query: { force: true } }));
  },
};

/**
 * A node's membership in the Swarm. On delete, its instances move to other nodes before it leaves. If the node is down, the
 * remaining managers remove it.
 */
export class SwarmMember extends DynamicResource {
  declare readonly nodeId: pulumi.Output<string>;

  constructor(name: string, args: SwarmMemberArgs, opts?: pulumi.CustomResourceOptions) {
    const outputs = { nodeId: undefined, gatewayMade: undefined };
    super(
      { file: __filename, provider: "memberProvider" },
      name,
      { ...args, ...outputs },
      opts,
      "SwarmMember",
    );
  }
}
