/**
 * Consul's access control and TLS on a running cluster, by way of `switchyard-acl` and `switchyard-tls` in its containers
 * (templates/consul).
 */
import * as pulumi from "@pulumi/pulumi";
import type Docker from "dockerode";
import { messageOf } from "../lib/errors";
import { connect, sameSsh, sleep } from "./client";
import { find, lastWords, restart } from "./containers";
import { DynamicResource } from "./dynamic-resource";
import { execIn, ExecError } from "./exec";

export interface ConsulAclArgs {
  /** The Docker URLs of all nodes, those with Consul's servers first. */
  readonly hosts: pulumi.Input<pulumi.Input<string>[]>;
  /** Options of `ssh` for `ssh://` URLs. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /** The name of Consul's container, the same on all nodes. */
  readonly container: pulumi.Input<string>;
  /** Changes with the tokens and their rights. */
  readonly version: pulumi.Input<string>;
  /** Changes with the agents' certificates. */
  readonly certificates: pulumi.Input<string>;
  /** How long to wait for the cluster. Default: 120. */
  readonly timeoutSeconds?: pulumi.Input<number> | undefined;
}

export interface ConsulGuardArgs extends ConsulAclArgs {
  /** The IDs of Consul's containers: an agent that starts with empty data, as on a new machine, rejects nothing yet. */
  readonly containers: pulumi.Input<pulumi.Input<string>[]>;
}

interface AclInputs {
  readonly hosts: readonly string[];
  readonly sshOpts?: readonly string[];
  readonly container: string;
  readonly version: string;
  /** Missing in states of earlier versions. */
  readonly certificates?: string;
  /** Only of a {@link ConsulGuard}, and missing in states of earlier versions. */
  readonly containers?: readonly string[];
  readonly timeoutSeconds?: number;
}

/** Exit code of `switchyard-acl check` if rights are wrong. */
const WRONG_RIGHTS = 2;
const RETRY_PAUSE_MS = 500;

const connected = (inputs: AclInputs, host: string): Docker =>
  connect(host, { answerTimeoutMs: 60_000, sshOpts: inputs.sshOpts });

const acl = (inputs: AclInputs, host: string, command: string): Promise<string> =>
  execIn(connected(inputs, host), inputs.container, ["switchyard-acl", command]);
const tls = (inputs: AclInputs, host: string, command: string): Promise<string> =>
  execIn(connected(inputs, host), inputs.container, ["switchyard-tls", command]);

/** Retries until the time is up: a cluster that starts elects a leader, and one that just got access control migrates its data. */
async function retry(inputs: AclInputs, what: string, attempt: () => Promise<unknown>): Promise<void> {
  const seconds = inputs.timeoutSeconds ?? 120;
  for (const deadlineMs = Date.now() + seconds * 1000; ;) {
    try {
      await attempt();
      return;
    } catch (error) {
      if (Date.now() > deadlineMs)
        throw new Error(`${what} within ${seconds} s: ${messageOf(error)}`, { cause: error });
    }
    await sleep(RETRY_PAUSE_MS);
  }
}

async function checked(inputs: AclInputs, host: string): Promise<void> {
  await retry(inputs, "Consul's tokens did not get the rights that they need", () =>
    acl(inputs, host, "check"),
  );
}

async function apply(inputs: AclInputs): Promise<void> {
  const [first = ""] = inputs.hosts;
  await retry(inputs, "Consul did not take its policies and tokens", () => acl(inputs, first, "apply"));
  await Promise.all(
    inputs.hosts.map((host) =>
      retry(inputs, `Consul's agent at ${host} did not take its token`, () => acl(inputs, host, "agent")),
    ),
  );
  await checked(inputs, first);
}

/** Whether rights are wrong, as far as Consul can be asked. */
async function isWrong(inputs: AclInputs): Promise<boolean> {
  const [first = ""] = inputs.hosts;
  return acl(inputs, first, "check").then(
    () => false,
    (error: unknown) => error instanceof ExecError && error.exitCode === WRONG_RIGHTS,
  );
}

function diff(olds: AclInputs, news: AclInputs): Promise<pulumi.dynamic.DiffResult> {
  const about = ({ hosts, container, version, certificates, containers }: AclInputs) =>
    JSON.stringify([hosts, container, version, certificates, containers]);
  return Promise.resolve({ changes: about(olds) !== about(news) || !sameSsh(olds, news) });
}

export const consulAclProvider: pulumi.dynamic.ResourceProvider<AclInputs, AclInputs> = {
  async create(inputs) {
    await apply(inputs);
    return { id: "acl", outs: inputs };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of a ConsulAcl (${id}) is not supported`);
    return { id: (await isWrong(props)) ? "" : id, props };
  },
  diff: (_id, olds, news) => diff(olds, news),
  async update(_id, olds, news) {
    // Before all else: with certificates that have ended, servers do not elect a leader.
    if (olds.certificates !== undefined && olds.certificates !== news.certificates)
      await Promise.all(
        news.hosts.filter((host) => olds.hosts.includes(host)).map((host) => tls(news, host, "reload")),
      );
    await apply(news);
    return { outs: news };
  },
};

/**
 * The policies and tokens of a running cluster. Created again, by which it is repaired, if a token has lost its rights.
 */
export class ConsulAcl extends DynamicResource {
  constructor(name: string, args: ConsulAclArgs, opts?: pulumi.CustomResourceOptions) {
    super({ file: __filename, provider: "consulAclProvider" }, name, { ...args }, opts, "ConsulAcl");
  }
}

/** Restarts an agent and waits until it takes part in the cluster again. */
async function restartAgent(inputs: AclInputs, host: string): Promise<void> {
  const docker = connected(inputs, host);
  await restart(docker, inputs.container);
  await retry(inputs, `Consul at ${host} did not come back`, async () => {
    const found = await find(docker, inputs.container);
    if (found?.State.Health?.Status === "healthy") return;
    throw new Error(`its health check fails. ${await lastWords(docker, inputs.container)}`);
  });
}

/** Whether the answer to such a question is yes; true as well if an agent cannot be asked. */
const isTrue = (answer: Promise<string>): Promise<boolean> =>
  answer.then(
    () => true,
    (error: unknown) => !(error instanceof ExecError),
  );
const denies = (inputs: AclInputs, host: string) => isTrue(acl(inputs, host, "denies"));
const encrypts = (inputs: AclInputs, host: string) => isTrue(tls(inputs, host, "encrypts"));
const requires = (inputs: AclInputs, host: string) => isTrue(tls(inputs, host, "requires"));

async function enforce(inputs: AclInputs): Promise<void> {
  const strays: string[] = [];
  for (const host of inputs.hosts) {
    const found = await acl(inputs, host, "settle");
    strays.push(...found.split("\n").filter((id) => id !== ""));
    const isDone = [await denies(inputs, host), await encrypts(inputs, host)];
    if (isDone.every(Boolean)) continue;
    await acl(inputs, host, "deny");
    await tls(inputs, host, "encrypt");
    await restartAgent(inputs, host);
  }
  // Now that nobody needs a plain connection.
  for (const host of inputs.hosts)
    await retry(inputs, `Consul at ${host} did not take its certificate`, () => tls(inputs, host, "require"));
  const [first = ""] = inputs.hosts;
  await retry(inputs, "Consul did not remove its earlier tokens", () => acl(inputs, first, "prune"));
  await checked(inputs, first);
  if (strays.length === 0) return;
  console.warn(
    `Consul no longer takes changes of the services ${strays.join(", ")}, which nobody with a current token registered. ` +
      `Register them again with the operator's token (script/outputs --show-secrets)`,
  );
}

export const consulGuardProvider: pulumi.dynamic.ResourceProvider<AclInputs, AclInputs> = {
  async create(inputs) {
    await enforce(inputs);
    return { id: "guard", outs: inputs };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of a ConsulGuard (${id}) is not supported`);
    const all = await Promise.all(
      props.hosts.flatMap((host) => [denies(props, host), requires(props, host)]),
    );
    return { id: all.every(Boolean) ? id : "", props };
  },
  diff: (_id, olds, news) => diff(olds, news),
  async update(_id, _olds, news) {
    await enforce(news);
    return { outs: news };
  },
};

/**
 * Makes Consul reject whatever has no token, and its agents reject each other's plain connections, and removes earlier tokens.
 * Create it after everything that uses Consul has a token: agents that ran without access control or TLS are restarted one
 * after another.
 */
export class ConsulGuard extends DynamicResource {
  constructor(name: string, args: ConsulGuardArgs, opts?: pulumi.CustomResourceOptions) {
    super({ file: __filename, provider: "consulGuardProvider" }, name, { ...args }, opts, "ConsulGuard");
  }
}
