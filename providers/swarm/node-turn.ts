import * as pulumi from "@pulumi/pulumi";
import type Docker from "dockerode";
import { FinalError, messageOf } from "../../lib/errors";
import { api, connect, sleep } from "../client";
import { find, isHealthy } from "../containers";
import { DynamicResource } from "../dynamic-resource";
import { requireFirstBoot, type FailureNote } from "../first-boot";
import { localSwarm } from "./engine";
import { changeNode, drain, isTurned, pause, takesInstances, type NodeDetails } from "./nodes";

interface NodeTurnArgs {
  /** The node's host name. */
  readonly name: pulumi.Input<string>;
  /** The Docker URL of the node's engine, known before its machine exists. */
  readonly host: pulumi.Input<string>;
  /** The Docker URLs of all nodes, likewise. */
  readonly nodes: pulumi.Input<pulumi.Input<string>[]>;
  /** Options of `ssh` for all of them. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
}

export interface NodeDrainArgs extends NodeTurnArgs {
  /** What restarts or replaces the machine when it changes. */
  readonly change: pulumi.Input<string>;
}

export interface NodeReturnArgs extends NodeTurnArgs {
  /** Of its {@link NodeDrain}: each has its return, even if the change that it was for has failed and is taken back. */
  readonly turn: pulumi.Input<number>;
  /** A file that exists on the machine once it is set up. */
  readonly readyFile: pulumi.Input<string>;
  /** What to write on this computer if the machine could not set itself up. Default: nothing. */
  readonly failureNote?: pulumi.Input<FailureNote> | undefined;
}

interface TurnInputs {
  readonly name: string;
  readonly host: string;
  readonly nodes: readonly string[];
  readonly sshOpts?: readonly string[];
}

interface DrainInputs extends TurnInputs {
  readonly change: string;
}

interface DrainState extends DrainInputs {
  readonly turn: number;
}

interface ReturnInputs extends TurnInputs {
  readonly turn: number;
  readonly readyFile: string;
  readonly failureNote?: FailureNote;
}

/** Containers that must run again, and be healthy, before the next node may change. */
const SERVING = ["consul", "registrator", "rest"];
/** How long a machine may take until it serves again. */
const RETURN_TIMEOUT_MS = 900_000;
const POLL_MS = 1000;
/** The turn of a node that is still drained, because its turn was interrupted: the next update ends it. */
const INTERRUPTED = -1;
/** A node that is off does not answer. */
const ANSWER_TIMEOUT_MS = 5000;
/** One that is busy does. */
const BUSY_TIMEOUT_MS = 30_000;

interface Membership {
  readonly manager: Docker;
  readonly node: NodeDetails;
  /** Whether no other node could run its instances. */
  readonly isAlone: boolean;
}

/**
 * The node as a manager of its Swarm sees it: another node if possible, because this one restarts.
 *
 * @throws Error if no manager answers that knows it
 */
async function membership(
  { name, host, nodes, sshOpts }: TurnInputs,
  answerTimeoutMs = ANSWER_TIMEOUT_MS,
): Promise<Membership> {
  const reasons: string[] = [];
  for (const url of [...nodes.filter((each) => each !== host), host]) {
    const manager = connect(url, { sshOpts, answerTimeoutMs });
    try {
      const all = await api<NodeDetails[]>(manager, "GET", "/nodes");
      const node = all.find(({ Description }) => Description.Hostname === name);
      if (node === undefined) continue;
      const isAlone = !all.some((each) => each !== node && takesInstances(each));
      return { manager, node, isAlone };
    } catch (error) {
      // A worker refuses.
      reasons.push(`${url}: ${messageOf(error)}`);
    }
  }
  throw new Error(`no manager of a Swarm knows ${name} (${reasons.join("; ")})`);
}

export const nodeDrainProvider: pulumi.dynamic.ResourceProvider<DrainInputs, DrainState> = {
  create: (inputs) => Promise.resolve({ id: inputs.host, outs: { ...inputs, turn: 0 } }),
  diff: (_id, olds, news) => Promise.resolve({ changes: olds.change !== news.change }),
  async update(_id, { turn }, news) {
    const found = await membership(news, BUSY_TIMEOUT_MS).catch((error: unknown) => {
      // It may be about to be replaced because it never became a node.
      console.warn(`${news.name} is not drained before its machine changes: ${messageOf(error)}`);
    });
    // One that somebody else has drained has no instances, and stays drained.
    if (found && (found.node.Spec.Availability !== "drain" || isTurned(found.node))) {
      const leave = found.isAlone ? pause : drain;
      await leave(found.manager, found.node.ID).catch((error: unknown) => {
        const reason = `${news.name} could not be drained, so its machine was left as it is: ${messageOf(error)}`;
        throw new Error(`${reason}. Run the update again`, { cause: error });
      });
    }
    return { outs: { ...news, turn: turn + 1 } };
  },
};

/** Why the node does not serve yet; undefined if it does. A new machine, which has nothing of the stack yet, need not serve. */
async function missing(inputs: ReturnInputs): Promise<string | undefined> {
  await requireFirstBoot(inputs, ANSWER_TIMEOUT_MS);
  const docker = connect(inputs.host, { sshOpts: inputs.sshOpts, answerTimeoutMs: ANSWER_TIMEOUT_MS });
  for (const name of SERVING) {
    const container = await find(docker, name);
    if (container !== undefined && !isHealthy(container)) return `${name} is not healthy yet`;
  }
  if ((await localSwarm(docker)).LocalNodeState === "inactive") return undefined;
  const { manager, node } = await membership(inputs);
  if (isTurned(node)) await changeNode(manager, node.ID, { Availability: "active" });
  return node.Status.State === "ready" ? undefined : "it is not ready in the Swarm yet";
}

export const nodeReturnProvider: pulumi.dynamic.ResourceProvider<ReturnInputs, ReturnInputs> = {
  create: (inputs) => Promise.resolve({ id: inputs.host, outs: inputs }),
  async read(id, props) {
    if (props === undefined) throw new Error(`import of a NodeReturn (${id}) is not supported`);
    // A node that no manager knows, or that cannot be asked, has no instances to get back.
    const found = await membership(props).catch(() => undefined);
    return { id, props: found && isTurned(found.node) ? { ...props, turn: INTERRUPTED } : props };
  },
  diff: (_id, olds, news) => Promise.resolve({ changes: olds.turn !== news.turn }),
  async update(_id, _olds, news) {
    const deadlineMs = Date.now() + RETURN_TIMEOUT_MS;
    for (;;) {
      const reason = await missing(news).catch((error: unknown) => {
        if (error instanceof FinalError) throw error;
        return messageOf(error);
      });
      if (reason === undefined) return { outs: news };
      if (Date.now() > deadlineMs) {
        throw new Error(
          `${news.name} does not serve ${RETURN_TIMEOUT_MS / 1000} s after its machine was changed: ${reason}. ` +
            `The nodes after it were left as they are. Repair it, and run the update again`,
        );
      }
      await sleep(POLL_MS);
    }
  },
};

/**
 * Moves a node's instances to other nodes before its machine is changed: let the machine depend on it. Creating it does
 * nothing, because the machine does not exist yet.
 */
export class NodeDrain extends DynamicResource {
  /** How often it has drained the node. */
  declare readonly turn: pulumi.Output<number>;

  constructor(name: string, args: NodeDrainArgs, opts?: pulumi.CustomResourceOptions) {
    const props = { ...args, turn: undefined };
    super({ file: __filename, provider: "nodeDrainProvider" }, name, props, opts, "NodeDrain");
  }
}

/** Waits until a node serves again after its machine was changed, and lets it have instances. */
export class NodeReturn extends DynamicResource {
  constructor(name: string, args: NodeReturnArgs, opts?: pulumi.CustomResourceOptions) {
    super({ file: __filename, provider: "nodeReturnProvider" }, name, { ...args }, opts, "NodeReturn");
  }
}
