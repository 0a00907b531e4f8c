import * as pulumi from "@pulumi/pulumi";
import type Docker from "dockerode";
import { api, connect } from "./client";

/** What a {@link ConsulMember} is made from. */
export interface ConsulMemberArgs {
  /** The node's name in Consul. */
  readonly node: pulumi.Input<string>;
  /** The Docker URLs of the nodes that run Consul's servers. */
  readonly servers: pulumi.Input<pulumi.Input<string>[]>;
  /** Options of `ssh`, for servers that begin with `ssh://`. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /** What Consul's container is called on each of them. */
  readonly container: pulumi.Input<string>;
  /** Port of its HTTP API there. */
  readonly httpPort: pulumi.Input<number>;
}

interface ConsulMemberInputs {
  readonly node: string;
  readonly servers: readonly string[];
  readonly sshOpts?: readonly string[];
  readonly container: string;
  readonly httpPort: number;
}

/** Runs a command in a running container of an engine; an error where it fails. */
async function exec(docker: Docker, container: string, command: readonly string[]): Promise<void> {
  const { Id } = await api<{ Id: string }>(docker, "POST", `/containers/${container}/exec`, {
    body: { Cmd: command, AttachStdout: true, AttachStderr: true },
  });
  const output = await api<unknown>(docker, "POST", `/exec/${Id}/start`, { body: { Detach: false } });
  const { ExitCode } = await api<{ ExitCode: number }>(docker, "GET", `/exec/${Id}/json`);
  if (ExitCode !== 0) throw new Error(`${command.join(" ")} failed: ${String(output)}`);
}

export const consulMemberProvider: pulumi.dynamic.ResourceProvider<ConsulMemberInputs, ConsulMemberInputs> = {
  create(inputs) {
    return Promise.resolve({ id: inputs.node, outs: inputs });
  },
  diff(_id, olds, news) {
    return Promise.resolve({
      changes: JSON.stringify(olds) !== JSON.stringify(news),
      replaces: olds.node === news.node ? [] : ["node"],
    });
  },
  update(_id, _olds, news) {
    return Promise.resolve({ outs: news });
  },
  async delete(_id, { node, servers, sshOpts, container, httpPort }) {
    const command = ["consul", "force-leave", "-prune", `-http-addr=127.0.0.1:${httpPort}`, node];
    for (const host of servers) {
      try {
        await exec(connect(host, { connectionTimeout: 10_000, sshOpts }), container, command);
        return;
      } catch {
        // That server is gone already, with the stack or with the node itself: the next one may be there.
      }
    }
  },
};

/**
 * A node's membership in Consul, to be made before its agent and so to go after it: on delete the servers forget the
 * node at once, services and all, instead of counting it as failed for three days.
 */
export class ConsulMember extends pulumi.dynamic.Resource {
  constructor(name: string, args: ConsulMemberArgs, opts?: pulumi.CustomResourceOptions) {
    super(consulMemberProvider, name, { ...args }, opts, "switchyard", "ConsulMember");
  }
}
