import * as pulumi from "@pulumi/pulumi";
import type Docker from "dockerode";
import { messageOf } from "../lib/errors";
import { api, connect, sleep, textOf, type DockerError } from "./client";

export interface ConsulMemberArgs {
  /** The node's name in Consul. */
  readonly node: pulumi.Input<string>;
  /** The address of its agent. */
  readonly address: pulumi.Input<string>;
  /** The Docker URL of the node. */
  readonly host: pulumi.Input<string>;
  /** The Docker URLs of the nodes that run Consul servers, including this node's if its agent is one. */
  readonly servers: pulumi.Input<pulumi.Input<string>[]>;
  /** Options of `ssh` for `ssh://` URLs. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /** The name of Consul's container on each of them. */
  readonly container: pulumi.Input<string>;
  /** Port of its HTTP API there. */
  readonly httpPort: pulumi.Input<number>;
  /** How long the other servers may refuse before that counts as a failure. Default: 30. */
  readonly timeoutSeconds?: pulumi.Input<number> | undefined;
}

interface MemberInputs {
  readonly node: string;
  readonly address: string;
  readonly host: string;
  readonly servers: readonly string[];
  readonly sshOpts?: readonly string[];
  readonly container: string;
  readonly httpPort: number;
  readonly timeoutSeconds?: number;
}

/** Runs `consul` in a running container; a failure carries its output. */
async function consul(
  docker: Docker,
  { container, httpPort }: MemberInputs,
  command: readonly string[],
): Promise<void> {
  const { Id } = await api<{ Id: string }>(docker, "POST", `/containers/${container}/exec`, {
    body: {
      Cmd: ["consul", ...command],
      Env: [`CONSUL_HTTP_ADDR=127.0.0.1:${httpPort}`],
      AttachStdout: true,
      AttachStderr: true,
    },
  });
  const output = await api<unknown>(docker, "POST", `/exec/${Id}/start`, { body: { Detach: false } });
  const { ExitCode } = await api<{ ExitCode: number }>(docker, "GET", `/exec/${Id}/json`);
  const text = Buffer.isBuffer(output) ? textOf(output).trim() : "no output";
  if (ExitCode !== 0) throw new Error(`consul ${command.join(" ")}: ${text}`);
}

interface Refusal {
  /** Missing if no other server runs Consul. */
  readonly server?: string;
  readonly reason: string;
}

/** Runs a command on the first other server that executes it; otherwise says why none does. */
async function onAnotherServer(
  inputs: MemberInputs,
  command: readonly string[],
): Promise<Refusal | undefined> {
  let refusal: Refusal = { reason: "there is no other server" };
  for (const server of inputs.servers) {
    if (server === inputs.host) continue;
    try {
      const { sshOpts } = inputs;
      await consul(connect(server, { answerTimeoutMs: 20_000, sshOpts }), inputs, command);
      return undefined;
    } catch (error) {
      // 404, 409: the container is missing or stopped, so no Consul there knows the node.
      const { statusCode } = error as DockerError;
      if (statusCode !== 404 && statusCode !== 409) refusal = { server, reason: messageOf(error) };
    }
  }
  return refusal;
}

/** Repeats a command on the other servers until one executes it, the answer is as good, or the time is up. */
async function insist(
  inputs: MemberInputs,
  command: readonly string[],
  isAsGood: (refusal: Refusal) => boolean,
): Promise<Refusal | undefined> {
  for (const deadline = Date.now() + (inputs.timeoutSeconds ?? 30) * 1000; ;) {
    const refusal = await onAnotherServer(inputs, command);
    if (refusal === undefined || isAsGood(refusal)) return undefined;
    if (Date.now() >= deadline) return refusal;
    await sleep(1000);
  }
}

/** A node whose agent is no longer a server loses its vote, before the servers that remain are too few to agree. */
async function takeVote(inputs: MemberInputs): Promise<void> {
  const command = ["operator", "raft", "remove-peer", `-address=${inputs.address}:8300`];
  const refusal = await insist(inputs, command, ({ reason }) =>
    reason.includes("not found in the Raft configuration"),
  );
  if (refusal !== undefined) {
    throw new Error(`Consul's servers do not let ${inputs.node} go: ${refusal.reason}`);
  }
}

/** Lets the agent leave the cluster, and keeps its container from starting again. */
async function leave(inputs: MemberInputs): Promise<void> {
  const docker = connect(inputs.host, { answerTimeoutMs: 60_000, sshOpts: inputs.sshOpts });
  await api(docker, "POST", `/containers/${inputs.container}/update`, {
    body: { RestartPolicy: { Name: "no" } },
  });
  // The command ends with the agent, often before it has answered.
  await consul(docker, inputs, ["leave"]).catch(() => undefined);
}

/**
 * Removes the node from Consul's catalog at once; Consul itself would keep it for 72 hours. A failure is only a warning:
 * a node that is already gone must not block its own removal.
 */
async function forget(inputs: MemberInputs): Promise<void> {
  const command = ["force-leave", "-prune", inputs.node];
  const refusal = await insist(
    inputs,
    command,
    ({ server, reason }) => server === undefined || /No node found|No such node/.test(reason),
  );
  if (refusal?.server === undefined) return;
  console.warn(
    `Consul still lists the node ${inputs.node}: ${refusal.reason}. Remove it with: ` +
      `docker -H ${refusal.server} exec ${inputs.container} consul ${command.join(" ")}`,
  );
}

/** What may change in place. */
function settingsOf({ address, host, servers, sshOpts, container, httpPort }: MemberInputs): string {
  return JSON.stringify([address, host, servers, sshOpts, container, httpPort]);
}

export const consulMemberProvider: pulumi.dynamic.ResourceProvider<MemberInputs, MemberInputs> = {
  create(inputs) {
    return Promise.resolve({ id: inputs.node, outs: inputs });
  },
  diff(_id, olds, news) {
    const replaces = olds.node === news.node ? [] : ["node"];
    const changes = replaces.length > 0 || settingsOf(olds) !== settingsOf(news);
    return Promise.resolve({ changes, replaces });
  },
  async update(_id, olds, news) {
    if (olds.servers.includes(olds.host) && !news.servers.includes(news.host)) await takeVote(news);
    return { outs: news };
  },
  async delete(_id, props) {
    // The only agent has no cluster to leave.
    if (props.servers.every((server) => server === props.host)) return;
    // An agent that cannot leave by itself is removed by the other servers.
    await leave(props).catch(() => undefined);
    await forget(props);
  },
};

/**
 * A node's membership in Consul. It is created after its agent and deleted before it, so that an agent that goes takes its
 * node and services out of the catalog and leaves enough servers to agree.
 */
export class ConsulMember extends pulumi.dynamic.Resource {
  constructor(name: string, args: ConsulMemberArgs, opts?: pulumi.CustomResourceOptions) {
    super(consulMemberProvider, name, { ...args }, opts, "switchyard", "ConsulMember");
  }
}
