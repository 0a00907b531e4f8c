import * as pulumi from "@pulumi/pulumi";
import type Docker from "dockerode";
import { api, connect, messageOf, sleep } from "./client";

/** What a {@link ConsulMember} is made from. */
export interface ConsulMemberArgs {
  /** The node's name in Consul. */
  readonly node: pulumi.Input<string>;
  /** The address of its agent. */
  readonly address: pulumi.Input<string>;
  /** The Docker URL of the node. */
  readonly host: pulumi.Input<string>;
  /** The Docker URLs of the nodes that run Consul's servers, this one among them where its agent is one. */
  readonly servers: pulumi.Input<pulumi.Input<string>[]>;
  /** Options of `ssh`, for URLs that begin with `ssh://`. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /** What Consul's container is called on each of them. */
  readonly container: pulumi.Input<string>;
  /** Port of its HTTP API there. */
  readonly httpPort: pulumi.Input<number>;
}

interface MemberInputs {
  readonly node: string;
  readonly address: string;
  readonly host: string;
  readonly servers: readonly string[];
  readonly sshOpts?: readonly string[];
  readonly container: string;
  readonly httpPort: number;
}

/** Runs `consul` in a running container; an error with what it said where it fails. */
async function consul(
  docker: Docker,
  { container, httpPort }: MemberInputs,
  command: string[],
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
  if (ExitCode !== 0) throw new Error(`consul ${command.join(" ")}: ${String(output).trim()}`);
}

/** Runs it on the first server that can, other than the node itself; undefined where there is one, or why not. */
async function onAnotherServer(inputs: MemberInputs, command: string[]): Promise<string | undefined> {
  let problem = "there is no other server";
  for (const server of inputs.servers) {
    if (server === inputs.host) continue;
    try {
      const { sshOpts } = inputs;
      await consul(connect(server, { connectionTimeout: 20_000, sshOpts }), inputs, command);
      return undefined;
    } catch (error) {
      problem = messageOf(error);
    }
  }
  return problem;
}

/** A server that is one no longer loses its vote, before others go and those that are left are too few to agree. */
async function takeVote(inputs: MemberInputs): Promise<void> {
  const command = ["operator", "raft", "remove-peer", `-address=${inputs.address}:8300`];
  for (let patience = 30; ; patience--) {
    const problem = await onAnotherServer(inputs, command);
    if (problem === undefined || problem.includes("not found in the Raft configuration")) return;
    if (patience === 0) throw new Error(`Consul's servers do not let ${inputs.node} go: ${problem}`);
    await sleep(1000);
  }
}

/** Lets the agent say good-bye, and stay away. */
async function leave(inputs: MemberInputs): Promise<void> {
  const docker = connect(inputs.host, { connectionTimeout: 60_000, sshOpts: inputs.sshOpts });
  await api(docker, "POST", `/containers/${inputs.container}/update`, {
    body: { RestartPolicy: { Name: "no" } },
  });
  // It ends with the agent, in the middle of its last words.
  await consul(docker, inputs, ["leave"]).catch(() => undefined);
}

export const consulMemberProvider: pulumi.dynamic.ResourceProvider<MemberInputs, MemberInputs> = {
  create(inputs) {
    return Promise.resolve({ id: inputs.node, outs: inputs });
  },
  diff(_id, olds, news) {
    const key = (inputs: MemberInputs) =>
      JSON.stringify([
        inputs.address,
        inputs.host,
        inputs.servers,
        inputs.sshOpts,
        inputs.container,
        inputs.httpPort,
      ]);
    return Promise.resolve({
      changes: olds.node !== news.node || key(olds) !== key(news),
      replaces: olds.node === news.node ? [] : ["node"],
    });
  },
  async update(_id, olds, news) {
    if (olds.servers.includes(olds.host) && !news.servers.includes(news.host)) await takeVote(news);
    return { outs: news };
  },
  async delete(_id, props) {
    // The only agent that there is has nobody to leave.
    if (props.servers.every((server) => server === props.host)) return;
    await leave(props).catch(() => undefined);
    // It is forgotten at once, instead of remembered for days; and one that could not say good-bye is, too.
    await onAnotherServer(props, ["force-leave", "-prune", props.node]);
  },
};

/**
 * A node's membership in Consul, which follows its agent and goes before it: what becomes of the agent must not leave
 * the servers too few to agree, nor the node and its services in the catalog.
 */
export class ConsulMember extends pulumi.dynamic.Resource {
  constructor(name: string, args: ConsulMemberArgs, opts?: pulumi.CustomResourceOptions) {
    super(consulMemberProvider, name, { ...args }, opts, "switchyard", "ConsulMember");
  }
}
