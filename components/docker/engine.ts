import * as pulumi from "@pulumi/pulumi";
import { api, connect, messageOf, sleep, unless } from "./client";

/** What a {@link DockerEngine} is made from. */
export interface DockerEngineArgs {
  /** The Docker URL: `unix:///…`, `tcp://…` or `ssh://…`. Another one makes another resource. */
  readonly host: pulumi.Input<string>;
  /** How long to wait until Docker answers. Default: 60. */
  readonly timeoutSeconds?: pulumi.Input<number> | undefined;
}

interface EngineInputs {
  readonly host: string;
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
  const docker = connect(inputs.host);
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

async function waitForEngine(inputs: EngineInputs): Promise<EngineState> {
  const seconds = inputs.timeoutSeconds ?? 60;
  const deadline = Date.now() + seconds * 1000;
  connect(inputs.host); // A bad URL fails at once.
  for (let pause = 100; ; pause = Math.min(pause * 2, 3000)) {
    try {
      return await lookAtEngine(inputs);
    } catch (error) {
      if ((error as { final?: boolean }).final === true) throw error;
      if (Date.now() + pause > deadline) {
        throw new Error(
          `Docker at ${inputs.host} did not answer within ${seconds} s (${messageOf(error)}). ` +
            `See what this says: docker -H ${inputs.host} info`,
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
    return Promise.resolve({ changes: moved, replaces: moved ? ["host"] : [] });
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
