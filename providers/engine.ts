import * as pulumi from "@pulumi/pulumi";
import { api, connect, messageOf, runBySsh, sleep, unless } from "./client";

/** What a {@link DockerEngine} is made from. */
export interface DockerEngineArgs {
  /** The Docker URL: `unix:///…`, `tcp://…` or `ssh://…`. Another one makes another resource. */
  readonly host: pulumi.Input<string>;
  /** Options of `ssh`, for a URL that begins with `ssh://`. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /**
   * A file on the machine of an `ssh://` URL that is there once the machine is set up. Until then nothing that ssh
   * complains of is final; without it a refused key is. Default: none.
   */
  readonly readyFile?: pulumi.Input<string> | undefined;
  /** How long to wait until Docker answers. Default: 60. */
  readonly timeoutSeconds?: pulumi.Input<number> | undefined;
}

interface EngineInputs {
  readonly host: string;
  readonly sshOpts?: readonly string[];
  readonly readyFile?: string;
  readonly timeoutSeconds?: number;
}

interface EngineState extends EngineInputs {
  readonly hostname: string;
  readonly bridgeAddress: string;
  readonly apiVersion: string;
  readonly serverVersion: string;
}

interface BridgeNetwork {
  readonly IPAM: {
    readonly Config: readonly { readonly Subnet?: string; readonly Gateway?: string }[] | null;
  };
}

/** The address that containers on the default bridge see the node at; undefined without an IPv4 bridge. */
export function bridgeAddressOf(network: BridgeNetwork): string | undefined {
  for (const { Gateway, Subnet } of network.IPAM.Config ?? []) {
    if (Gateway?.includes(".") === true) return Gateway;
    // An engine started without --bip reports no gateway: the bridge has the first address of its subnet.
    const match = /^(\d+\.\d+\.\d+)\.(\d+)\/\d+$/.exec(Subnet ?? "");
    if (match?.[1] !== undefined && match[2] !== undefined) return `${match[1]}.${Number(match[2]) + 1}`;
  }
  return undefined;
}

async function lookAtEngine(inputs: EngineInputs): Promise<EngineState> {
  const docker = connect(inputs.host, { sshOpts: inputs.sshOpts });
  if (inputs.readyFile !== undefined) await runBySsh(inputs.host, inputs.sshOpts, ["ls", inputs.readyFile]);
  const info = await api<{ Name: string }>(docker, "GET", "/info");
  const version = await api<{ ApiVersion: string; Version: string }>(docker, "GET", "/version");
  const network = await unless([404], api<BridgeNetwork>(docker, "GET", "/networks/bridge"));
  const bridgeAddress = network === undefined ? undefined : bridgeAddressOf(network);
  if (bridgeAddress === undefined) {
    throw Object.assign(
      new Error(
        `The Docker Engine at ${inputs.host} has no default bridge network with an IPv4 address, which Switchyard ` +
          `needs for DNS: start dockerd without --bridge=none`,
      ),
      { final: true },
    );
  }
  return {
    ...inputs,
    hostname: info.Name,
    bridgeAddress,
    apiVersion: version.ApiVersion,
    serverVersion: version.Version,
  };
}

/** What to run to see what is wrong: for ssh its own command, as `docker` hides half of what ssh says. */
export function commandToTry({ host, sshOpts = [], readyFile }: EngineInputs): string {
  if (!host.startsWith("ssh://")) return `docker -H ${host} info`;
  const command = readyFile === undefined ? "docker info" : "cloud-init status --long";
  return ["ssh", ...sshOpts, host, command].join(" ");
}

/** What will not mend itself by waiting: a key that one of the two sides refuses. */
const REFUSED =
  /Permission denied|Host key verification failed|not accessible|UNPROTECTED PRIVATE KEY|dial unix .*permission denied/;

async function waitForEngine(inputs: EngineInputs): Promise<EngineState> {
  const seconds = inputs.timeoutSeconds ?? 60;
  const deadline = Date.now() + seconds * 1000;
  connect(inputs.host); // A bad URL fails at once.
  for (let pause = 100; ; pause = Math.min(pause * 2, 3000)) {
    try {
      return await lookAtEngine(inputs);
    } catch (error) {
      if ((error as { final?: boolean }).final === true) throw error;
      const refused = inputs.readyFile === undefined && REFUSED.test(messageOf(error));
      if (refused || Date.now() + pause > deadline) {
        throw new Error(
          `Docker at ${inputs.host} ${refused ? "cannot be reached" : `did not answer within ${seconds} s`} ` +
            `(${messageOf(error)}). See what this says: ${commandToTry(inputs)}`,
          { cause: error },
        );
      }
    }
    await sleep(pause);
  }
}

export const engineProvider: pulumi.dynamic.ResourceProvider<EngineInputs, EngineState> = {
  async create(inputs) {
    return { id: inputs.host, outs: await waitForEngine(inputs) };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of a DockerEngine (${id}) is not supported`);
    return { id, props: await waitForEngine(props) };
  },
  diff(_id, olds, news) {
    const moved = olds.host !== news.host;
    const changes = moved || (olds.sshOpts ?? []).join("\n") !== (news.sshOpts ?? []).join("\n");
    return Promise.resolve({ changes, replaces: moved ? ["host"] : [] });
  },
  async update(_id, _olds, news) {
    return { outs: await waitForEngine(news) };
  },
};

/**
 * A Docker Engine that answers. Readiness is data: what needs the engine takes `host` from here, because a provider
 * does not wait for `dependsOn` (pulumi/pulumi#8917).
 */
export class DockerEngine extends pulumi.dynamic.Resource {
  /** The Docker URL, known once Docker answers there. */
  declare readonly host: pulumi.Output<string>;
  /** The node's host name, as Docker reports it. */
  declare readonly hostname: pulumi.Output<string>;
  /** The node's address on the default bridge: where containers find the node's own services. */
  declare readonly bridgeAddress: pulumi.Output<string>;
  declare readonly apiVersion: pulumi.Output<string>;
  declare readonly serverVersion: pulumi.Output<string>;

  constructor(name: string, args: DockerEngineArgs, opts?: pulumi.CustomResourceOptions) {
    const outputs = {
      hostname: undefined,
      bridgeAddress: undefined,
      apiVersion: undefined,
      serverVersion: undefined,
    };
    super(engineProvider, name, { ...args, ...outputs }, opts, "switchyard", "DockerEngine");
  }
}
