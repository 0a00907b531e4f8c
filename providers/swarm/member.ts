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
  manages,
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
  /** Whether a refresh found that the engine is not this member any more, although the Swarm still counts it. */
  readonly lost?: boolean;
}

const othersOf = ({ managers, host }: MemberInputs): string[] =>
  managers.filter((manager) => manager !== host);

/** A manager of the Swarm other than the node itself; undefined if none answers. */
async function otherManager(inputs: MemberInputs): Promise<Docker | undefined> {
  const { swarmId, sshOpts } = inputs;
  for (const host of othersOf(inputs)) {
    if ((await manages({ host, sshOpts }, swarmId)) === true)
      return connect(host, { answerTimeoutMs: 5000, sshOpts });
  }
  return undefined;
}

/** Whether all managers of a worker answer that they do not manage its Swarm any more. */
async function isAbandoned(inputs: MemberInputs): Promise<boolean> {
  const { swarmId, sshOpts, role } = inputs;
  if (role === "manager") return false;
  const asked = othersOf(inputs).map((host) => manages({ host, sshOpts }, swarmId));
  return (await Promise.all(asked)).every((answer) => answer === false);
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

/** Leaves the Swarm, if the engine is this member: one that lost its disk may be in another Swarm by now. */
async function leave(docker: Docker, id: string, props: MemberState): Promise<void> {
  if ((await localSwarm(docker)).NodeID !== id) return;
  await until("demotion", async () => !(await localSwarm(docker)).ControlAvailable);
  await unless([503], api(docker, "POST", "/swarm/leave", { query: { force: true } }));
  if (props.gatewayMade) await removeGatewayNetwork(docker, props);
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
    const isMember = local.LocalNodeState === "active" && local.NodeID === id;
    // An engine that has just started says so soon.
    if (isMember || local.LocalNodeState === "pending") return { id, props };
    const manager = await otherManager(props);
    const isCounted = manager !== undefined && (await nodeOf(manager, id)) !== undefined;
    return isCounted ? { id, props: { ...props, lost: true } } : { id: "", props };
  },
  diff(_id, olds, news) {
    const keys = (["host", "advertiseAddr", "swarmId"] as const).filter((key) => olds[key] !== news[key]);
    // Its replacement makes the others forget it. Otherwise a lost manager would count for the majority for good.
    const replaces = olds.lost === true && keys.length === 0 ? ["swarmId"] : keys;
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
    const docker = connect(props.host, props);
    const manager = await otherManager(props);
    // The last manager leaves when the Swarm resource is deleted. A worker whose Swarm has ended could join no other.
    if (manager === undefined) {
      if (await isAbandoned(props)) await leave(docker, id, props);
      return;
    }
    await drain(manager, id);
    await changeNode(manager, id, { Role: "worker" });
    try {
      await leave(docker, id, props);
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
