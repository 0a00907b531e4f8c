import * as pulumi from "@pulumi/pulumi";
import { DynamicResource } from "./dynamic-resource";
import type Docker from "dockerode";
import { messageOf } from "../lib/errors";
import { api, connect, dockerCommand, sleep, type DockerError } from "./client";
import { find, lastWords, type Details } from "./containers";
import { execIn } from "./exec";

export interface ConsulMemberArgs {
  /** The node's name in Consul. */
  readonly node: pulumi.Input<string>;
  /** The address of the node's Consul agent. */
  readonly address: pulumi.Input<string>;
  /** The Docker URL of the node. */
  readonly host: pulumi.Input<string>;
  /**
   * The Docker URLs of the nodes that run Consul servers, in the order in which they are started, including this node's if
   * its agent is one.
   */
  readonly servers: pulumi.Input<pulumi.Input<string>[]>;
  /** Options of `ssh` for `ssh://` URLs. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /** The name of Consul's container, the same on all nodes. */
  readonly container: pulumi.Input<string>;
  /** The ID of Consul's container. With a new one, an update waits until the agent is back in the cluster. */
  readonly containerId: pulumi.Input<string>;
  /** Port of Consul's HTTP API, the same on all nodes. */
  readonly httpPort: pulumi.Input<number>;
  /** How long to retry while the other servers refuse. Default: 30. */
  readonly timeoutSeconds?: pulumi.Input<number> | undefined;
  /** How long the agent may take to be back in the cluster. Default: 120. */
  readonly waitTimeoutSeconds?: pulumi.Input<number> | undefined;
}

interface MemberInputs {
  readonly node: string;
  readonly address: string;
  readonly host: string;
  readonly servers: readonly string[];
  readonly sshOpts?: readonly string[];
  readonly container: string;
  /** Missing in states of earlier versions. */
  readonly containerId?: string;
  readonly httpPort: number;
  readonly timeoutSeconds?: number;
  readonly waitTimeoutSeconds?: number;
}

/** Runs `consul` in a running container and returns its output, which an error contains as well. */
async function consul(
  docker: Docker,
  { container, httpPort }: MemberInputs,
  command: readonly string[],
  env: readonly string[] = [],
): Promise<string> {
  const own = [`CONSUL_HTTP_ADDR=127.0.0.1:${httpPort}`, ...env];
  return execIn(docker, container, ["consul", ...command], own);
}

/** Pause between two attempts of a command. */
const RETRY_PAUSE_MS = 1000;

interface Refusal {
  /** Docker URL of the server that refused. Missing if no other server runs Consul. */
  readonly server?: string;
  readonly reason: string;
}

/** Runs a command on the first other server that accepts it; otherwise returns why none does. */
async function onAnotherServer(
  inputs: MemberInputs,
  command: readonly string[],
): Promise<Refusal | undefined> {
  let refusal: Refusal = { reason: "there is no other server" };
  for (const server of others(inputs)) {
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

/** Retries a command on the other servers until one accepts it, a refusal counts as success, or the time is up. */
async function retry(
  inputs: MemberInputs,
  command: readonly string[],
  countsAsSuccess: (refusal: Refusal) => boolean,
): Promise<Refusal | undefined> {
  for (const deadlineMs = Date.now() + (inputs.timeoutSeconds ?? 30) * 1000; ;) {
    const refusal = await onAnotherServer(inputs, command);
    if (refusal === undefined || countsAsSuccess(refusal)) return undefined;
    if (Date.now() >= deadlineMs) return refusal;
    await sleep(RETRY_PAUSE_MS);
  }
}

/** Removes a node that is no longer a server from the Raft peers, so that the remaining servers keep a quorum. */
async function removePeer(inputs: MemberInputs): Promise<void> {
  const command = ["operator", "raft", "remove-peer", `-address=${inputs.address}:8300`];
  const refusal = await retry(inputs, command, ({ reason }) =>
    reason.includes("not found in the Raft configuration"),
  );
  if (refusal !== undefined) {
    throw new Error(`Consul's servers did not remove the Raft peer ${inputs.node}: ${refusal.reason}`);
  }
}

/** Makes the agent leave the cluster, and prevents its container from restarting. */
async function leave(inputs: MemberInputs): Promise<void> {
  const docker = connect(inputs.host, { answerTimeoutMs: 60_000, sshOpts: inputs.sshOpts });
  await api(docker, "POST", `/containers/${inputs.container}/update`, {
    body: { RestartPolicy: { Name: "no" } },
  });
  // The agent stops, often before the command gets its answer.
  await consul(docker, inputs, ["leave"]).catch(() => undefined);
}

/**
 * Removes the node from Consul's catalog immediately; Consul would keep it for 72 hours. A failure is only a warning: a node
 * that is gone must not block its own removal.
 */
async function forget(inputs: MemberInputs): Promise<void> {
  const command = ["force-leave", "-prune", inputs.node];
  const refusal = await retry(
    inputs,
    command,
    ({ server, reason }) => server === undefined || /No node found|No such node/.test(reason),
  );
  if (refusal?.server === undefined) return;
  console.warn(
    `Consul still lists the node ${inputs.node}: ${refusal.reason}. Remove it with: ` +
      dockerCommand(
        { ...inputs, host: refusal.server },
        `exec ${inputs.container} consul ${command.join(" ")}`,
      ),
  );
}

/** How long an agent may be without a leader while the container of another server is missing. */
const MISSING_SERVER_TIMEOUT_SECONDS = 15;
/** Docker restarts a container that fails to start. */
const RESTARTS_ALLOWED = 2;

/**
 * Waits until the agent has a leader, and a server also the data of the others. Only then may the next server be replaced,
 * because a majority must stay.
 *
 * @throws Error if the container ends, or if it takes too long
 */
async function join(inputs: MemberInputs): Promise<void> {
  const { node, container, servers, host, sshOpts } = inputs;
  const docker = connect(host, { sshOpts });
  const seconds = inputs.waitTimeoutSeconds ?? 120;
  const wanted = servers.includes(host) ? await newestIndex(inputs) : 0;
  const restarts = (await find(docker, container))?.RestartCount ?? 0;
  for (const started = Date.now(); ;) {
    const waitedSeconds = (Date.now() - started) / 1000;
    const found = await find(docker, container);
    if (isHealthy(found) && (await appliedIndex(docker, inputs)) >= wanted) return;
    const hasEnded = !isAlive(found) || found.RestartCount > restarts + RESTARTS_ALLOWED;
    // The missing server may be what this one lacks. It comes next, or is out of reach.
    const isPatient = waitedSeconds < Math.min(seconds, MISSING_SERVER_TIMEOUT_SECONDS);
    if (!hasEnded && !isPatient && (await isServerMissing(inputs))) return;
    if (!hasEnded && waitedSeconds < seconds) {
      await sleep(RETRY_PAUSE_MS);
      continue;
    }
    const what = hasEnded ? "ended" : `was not back in the cluster within ${seconds} s`;
    throw new Error(`Consul on node ${node} ${what}. ${await lastWords(docker, container)}`);
  }
}

const isAlive = (container: Details | undefined): container is Details =>
  container?.State.Running === true || container?.State.Restarting === true;
const isHealthy = (container: Details | undefined) => container?.State.Health?.Status === "healthy";

/** An index in what `consul info` says about Raft; 0 on a client. */
async function raftIndex(docker: Docker, inputs: MemberInputs, key: string): Promise<number> {
  // While a cluster gets access control, its agents know no token yet, and answer whoever has none.
  const withoutToken = () => consul(docker, inputs, ["info"], ["CONSUL_HTTP_TOKEN_FILE="]);
  const info = await consul(docker, inputs, ["info"])
    .catch(withoutToken)
    .catch(() => "");
  return Number(new RegExp(`^\\s*${key} = (\\d+)$`, "m").exec(info)?.[1] ?? 0);
}

const appliedIndex = (docker: Docker, inputs: MemberInputs) => raftIndex(docker, inputs, "applied_index");

const others = ({ servers, host }: MemberInputs) => servers.filter((server) => server !== host);

/** The newest index that another server has committed. */
async function newestIndex(inputs: MemberInputs): Promise<number> {
  const { sshOpts } = inputs;
  const indexes = others(inputs).map((server) =>
    raftIndex(connect(server, { sshOpts }), inputs, "commit_index"),
  );
  return Math.max(0, ...(await Promise.all(indexes)));
}

async function isServerMissing(inputs: MemberInputs): Promise<boolean> {
  const { container, sshOpts } = inputs;
  const running = others(inputs).map((server) =>
    find(connect(server, { sshOpts }), container).then(
      (found) => found?.State.Running === true,
      () => false,
    ),
  );
  return (await Promise.all(running)).includes(false);
}

/** Properties that change in place. */
function settingsOf(inputs: MemberInputs): string {
  const { address, host, servers, sshOpts, container, containerId, httpPort } = inputs;
  return JSON.stringify([address, host, servers, sshOpts, container, containerId, httpPort]);
}

export const consulMemberProvider: pulumi.dynamic.ResourceProvider<MemberInputs, MemberInputs> = {
  async create(inputs) {
    // A new cluster has no leader before its last server.
    const isNotLast =
      others(inputs).includes(inputs.servers.at(-1) ?? "") && inputs.servers.includes(inputs.host);
    if (!isNotLast) await join(inputs);
    return { id: inputs.node, outs: inputs };
  },
  diff(_id, olds, news) {
    const replaces = olds.node === news.node ? [] : ["node"];
    const changes = replaces.length > 0 || settingsOf(olds) !== settingsOf(news);
    return Promise.resolve({ changes, replaces });
  },
  async update(_id, olds, news) {
    if (olds.servers.includes(olds.host) && !news.servers.includes(news.host)) await removePeer(news);
    if (olds.containerId !== news.containerId) await join(news);
    return { outs: news };
  },
  async delete(_id, props) {
    // The only server has no cluster to leave.
    if (props.servers.every((server) => server === props.host)) return;
    // If the agent cannot leave by itself, the other servers remove it.
    await leave(props).catch(() => undefined);
    await forget(props);
  },
};

/**
 * A node's membership in Consul. It is created and updated after the agent, and waits until that is in the cluster. It is
 * deleted before the agent, so that a departing agent removes its node and services from the catalog and leaves a quorum of
 * servers.
 */
export class ConsulMember extends DynamicResource {
  constructor(name: string, args: ConsulMemberArgs, opts?: pulumi.CustomResourceOptions) {
    super({ file: __filename, provider: "consulMemberProvider" }, name, { ...args }, opts, "ConsulMember");
  }
}
