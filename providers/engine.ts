import * as pulumi from "@pulumi/pulumi";
import { DynamicResource } from "./dynamic-resource";
import { FinalError, MachineError, messageOf } from "../lib/errors";
import { api, connect, dockerCommand, sameSsh, sleep, unless } from "./client";
import { requireFirstBoot, type FailureNote } from "./first-boot";
import { stackOwner } from "./owner";
import { earlierOwners, otherStack } from "./sole-stack";

export interface DockerEngineArgs {
  /** The Docker URL: `unix:///…`, `tcp://…` or `ssh://…`. */
  readonly host: pulumi.Input<string>;
  /** Options of `ssh` for an `ssh://` URL. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /**
   * A file that exists on the machine of an `ssh://` URL once the machine is set up. Until then every SSH error is retried;
   * without this option, a rejected key fails immediately. Default: none.
   */
  readonly readyFile?: pulumi.Input<string> | undefined;
  /** With {@link readyFile}: what to write on this computer if the machine could not set itself up. Default: nothing. */
  readonly failureNote?: pulumi.Input<FailureNote> | undefined;
  /** How long to wait for Docker to answer. Default: 60. */
  readonly timeoutSeconds?: pulumi.Input<number> | undefined;
  /** The only stack that may be on the engine. Default: `<project>/<stack>`. */
  readonly owner?: pulumi.Input<string> | undefined;
}

interface EngineInputs {
  readonly host: string;
  readonly owner?: string;
  /** Names that the stack had before. */
  readonly earlierOwners?: readonly string[];
  readonly sshOpts?: readonly string[];
  readonly readyFile?: string;
  readonly failureNote?: FailureNote | undefined;
  readonly timeoutSeconds?: number;
}

interface EngineState extends EngineInputs {
  readonly bridgeAddress: string;
}

interface BridgeNetwork {
  readonly IPAM: {
    readonly Config: readonly { readonly Subnet?: string; readonly Gateway?: string }[] | null;
  };
}

interface EngineInfo {
  readonly LiveRestoreEnabled: boolean;
}

/** The node's address on the default bridge, as containers see it; undefined without an IPv4 bridge. */
export function bridgeAddressOf(network: BridgeNetwork): string | undefined {
  for (const { Gateway, Subnet } of network.IPAM.Config ?? []) {
    if (Gateway?.includes(".") === true) return Gateway;
    // An engine started without --bip may report no gateway. The bridge then has the subnet's first address.
    const match = /^(\d+\.\d+\.\d+)\.(\d+)\/\d+$/.exec(Subnet ?? "");
    if (match?.[1] !== undefined && match[2] !== undefined) return `${match[1]}.${Number(match[2]) + 1}`;
  }
  return undefined;
}

/** A preview must not wait long for an engine that is down. */
const previewTimeoutMs = 10_000;

/** Asks the engine for its bridge, and rejects one that cannot run the stack. */
async function inspectEngine(inputs: EngineInputs, timeoutMs: () => number): Promise<EngineState> {
  const { host, sshOpts, readyFile, failureNote } = inputs;
  if (readyFile !== undefined) await requireFirstBoot({ host, sshOpts, readyFile, failureNote }, timeoutMs());
  const docker = connect(host, { sshOpts, answerTimeoutMs: timeoutMs() });
  const network = await unless([404], api<BridgeNetwork>(docker, "GET", "/networks/bridge"));
  const bridgeAddress = network === undefined ? undefined : bridgeAddressOf(network);
  if (bridgeAddress === undefined) {
    throw new FinalError(
      `The Docker Engine at ${host} has no default bridge network with an IPv4 address, which Switchyard ` +
        `needs for DNS: start dockerd without --bridge=none`,
    );
  }
  const problem = await withoutSwarm(inputs, timeoutMs());
  if (problem !== undefined) throw new FinalError(problem);
  return { ...inputs, bridgeAddress };
}

/** Why the engine cannot be in a Swarm; undefined if it can. */
async function withoutSwarm(
  { host, sshOpts }: EngineInputs,
  answerTimeoutMs: number,
): Promise<string | undefined> {
  const docker = connect(host, { sshOpts, answerTimeoutMs });
  if (!(await api<EngineInfo>(docker, "GET", "/info")).LiveRestoreEnabled) return undefined;
  return (
    `The Docker Engine at ${host} has live-restore on, with which Docker refuses to be in a Swarm: write ` +
    `"live-restore": false into /etc/docker/daemon.json there, and run: systemctl reload docker`
  );
}

/** A command that shows what is wrong. */
export function commandToTry(inputs: EngineInputs): string {
  const { host, sshOpts = [], readyFile } = inputs;
  return readyFile === undefined
    ? dockerCommand(inputs, "info")
    : ["ssh", ...sshOpts, host, "cloud-init status --long"].join(" ");
}

/** What to do about a new machine that is never ready, perhaps without a word: where cloud-init comes from the archive as well. */
const replacement = ({ failureNote }: EngineInputs): string =>
  failureNote?.command === undefined
    ? ""
    : `. If the machine cannot reach a package archive, set machine.aptMirror or machine.proxy, and replace it: ${failureNote.command}`;

/** Errors of a rejected key, on either side. Waiting does not help. */
const REFUSED =
  /Permission denied|Host key verification failed|not accessible|UNPROTECTED PRIVATE KEY|dial unix .*permission denied/;

async function waitForEngine(inputs: EngineInputs): Promise<EngineState> {
  const seconds = inputs.timeoutSeconds ?? 60;
  const deadlineMs = Date.now() + seconds * 1000;
  // A single attempt that hangs must not use up the whole time.
  const timeoutMs = () => Math.min(30_000, Math.max(500, deadlineMs - Date.now()));
  connect(inputs.host); // A malformed URL fails immediately.
  for (let pauseMs = 100; ; pauseMs = Math.min(pauseMs * 2, 3000)) {
    try {
      return await inspectEngine(inputs, timeoutMs);
    } catch (error) {
      if (error instanceof FinalError) throw error;
      const refused = inputs.readyFile === undefined && REFUSED.test(messageOf(error));
      if (refused || Date.now() + pauseMs > deadlineMs) {
        const Kind = inputs.readyFile === undefined ? Error : MachineError;
        throw new Kind(
          `Docker at ${inputs.host} ${refused ? "cannot be reached" : `did not answer within ${seconds} s`} ` +
            `(${messageOf(error)}). See what this says: ${commandToTry(inputs)}${replacement(inputs)}`,
          { cause: error },
        );
      }
    }
    await sleep(pauseMs);
  }
}

/** Waits for the engine, and throws if another stack is on it. */
async function claim(olds: Partial<EngineInputs>, inputs: EngineInputs): Promise<EngineState> {
  const state = await waitForEngine(inputs);
  const problem = await otherStack(olds, inputs);
  if (problem !== undefined) throw new Error(problem);
  return state;
}

export const engineProvider: pulumi.dynamic.ResourceProvider<EngineInputs, EngineState> = {
  /** Previews call this too: nothing is made yet on any node. */
  async check(olds: Partial<EngineInputs>, news) {
    const earlier = earlierOwners(olds, news);
    const inputs = { ...news, ...(earlier.length > 0 && { earlierOwners: earlier }) };
    // A preview may not know the URL yet, and a machine that the program creates has no other stack.
    if (!/^\w+:\/\//.test(news.host) || news.readyFile !== undefined) return { inputs };
    // An engine that is down says so when it is needed.
    const reasonNot = async () =>
      (await otherStack(olds, inputs)) ?? (await withoutSwarm(inputs, previewTimeoutMs));
    const reason = await reasonNot().catch(() => undefined);
    return { inputs, failures: reason === undefined ? [] : [{ property: "", reason }] };
  },
  async create(inputs) {
    return { id: inputs.host, outs: await claim({}, inputs) };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of a DockerEngine (${id}) is not supported`);
    // No note: this state may be older than the machine.
    const { bridgeAddress } = await waitForEngine({ ...props, failureNote: undefined });
    return { id, props: { ...props, bridgeAddress } };
  },
  diff(_id, olds, news) {
    return Promise.resolve({ changes: olds.host !== news.host || !sameSsh(olds, news), replaces: [] });
  },
  async update(_id, olds, news) {
    return { outs: await claim(olds, news) };
  },
};

/**
 * A Docker Engine that answers. Resources that need the engine take `host` from here, because a provider does not wait for
 * `dependsOn` (pulumi/pulumi#8917).
 */
export class DockerEngine extends DynamicResource {
  /** The Docker URL, known once Docker answers there. */
  declare readonly host: pulumi.Output<string>;
  /** The node's address on the default bridge, at which containers reach the node's own services. */
  declare readonly bridgeAddress: pulumi.Output<string>;

  constructor(name: string, args: DockerEngineArgs, opts?: pulumi.CustomResourceOptions) {
    super(
      { file: __filename, provider: "engineProvider" },
      name,
      { ...args, owner: args.owner ?? stackOwner(), bridgeAddress: undefined },
      opts,
      "DockerEngine",
    );
  }
}
