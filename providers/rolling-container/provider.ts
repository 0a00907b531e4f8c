import { randomBytes } from "node:crypto";
import * as pulumi from "@pulumi/pulumi";
import { DynamicResource } from "../dynamic-resource";
import { api, connect, sameSsh } from "../client";
import { stackOwner } from "../owner";
import { find, remove, setRestartPolicy } from "../containers";
import {
  changedInputs,
  CLAIM_LABEL,
  type CapabilityInputs,
  type InputKey,
  type VolumeInputs,
} from "./inputs";
import { containersOf, roll, sweep, type RollInputs } from "./roll";

/** A volume, or a folder of the node, and where the container sees it. */
export type VolumeArgs = { readonly [Key in keyof VolumeInputs]: pulumi.Input<VolumeInputs[Key]> };

export interface RollingContainerArgs {
  /** The Docker URL of the node. */
  readonly host: pulumi.Input<string>;
  /** Options of `ssh` for `ssh://` URLs. Default: the user's own configuration. */
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /** The container's owner. A container of the same name with another owner is never touched. Default: `<project>/<stack>`. */
  readonly owner?: pulumi.Input<string> | undefined;
  readonly name: pulumi.Input<string>;
  /** An image that the node has or can pull, with a health check. */
  readonly image: pulumi.Input<string>;
  readonly command?: pulumi.Input<pulumi.Input<string>[]> | undefined;
  readonly env?: pulumi.Input<Record<string, pulumi.Input<string>>> | undefined;
  readonly labels?: pulumi.Input<Record<string, pulumi.Input<string>>> | undefined;
  /** When Docker starts it again: `no`, `on-failure`, `always` or `unless-stopped`. */
  readonly restart: pulumi.Input<string>;
  /** Default: Docker's. */
  readonly capabilities?: pulumi.Input<CapabilityInputs> | undefined;
  /** Whether its file system is read-only. Default: false. */
  readonly readOnly?: pulumi.Input<boolean> | undefined;
  /** The number of processes and threads that it may have. Default: no limit. */
  readonly pidsLimit?: pulumi.Input<number> | undefined;
  readonly volumes?: pulumi.Input<VolumeArgs[]> | undefined;
  /** Options of Docker's log. */
  readonly logOpts?: pulumi.Input<Record<string, string>> | undefined;
  /** How long a new container may take to get healthy. Default: 120. */
  readonly waitTimeoutSeconds?: pulumi.Input<number> | undefined;
}

export interface RollingContainerInputs extends RollInputs {
  readonly sshOpts?: readonly string[];
}

export interface RollingContainerState extends RollingContainerInputs {
  readonly containerId: string;
  /** Identifies the resource that made the container, so that a resource removes none that another has taken over. */
  readonly claim: string;
  /** The Docker Engine, which stays the same if its URL changes. */
  readonly engineId: string;
}

/** `changedKeys` is for our own previews; Pulumi ignores it. */
export interface ContainerDiff extends pulumi.dynamic.DiffResult {
  readonly changedKeys: readonly (InputKey | "host")[];
}

async function engineIdOf(inputs: RollingContainerInputs): Promise<string> {
  return (await api<{ ID: string }>(connect(inputs.host, inputs), "GET", "/info")).ID;
}

/** The inputs in a state, which holds both inputs and outputs. */
function inputsFrom(props: RollingContainerState): RollingContainerInputs {
  const outputs = ["containerId", "claim", "engineId"];
  const inputs: object = Object.fromEntries(Object.entries(props).filter(([key]) => !outputs.includes(key)));
  return inputs as RollingContainerInputs;
}

export const rollingContainerProvider: pulumi.dynamic.ResourceProvider<
  RollingContainerInputs,
  RollingContainerState
> = {
  async diff(_id, olds, news): Promise<ContainerDiff> {
    const keys = changedInputs(olds, news);
    const moved = olds.host !== news.host;
    // A preview may not know the URL yet.
    const known = /^\w+:\/\//.test(news.host);
    const elsewhere = moved && known && (await engineIdOf(news)) !== olds.engineId;
    return {
      changes: keys.length > 0 || moved || !sameSsh(olds, news),
      replaces: [...(elsewhere ? ["host"] : []), ...(keys.includes("name") ? ["name"] : [])],
      changedKeys: [...(moved ? (["host"] as const) : []), ...keys],
    };
  },
  async create(inputs) {
    const docker = connect(inputs.host, inputs);
    const claim = randomBytes(8).toString("hex");
    const containerId = await roll(docker, inputs, claim);
    await sweep(docker, inputs);
    return { id: inputs.name, outs: { ...inputs, containerId, claim, engineId: await engineIdOf(inputs) } };
  },
  async read(id, props): Promise<pulumi.dynamic.ReadResult> {
    if (props === undefined) throw new Error(`import of a RollingContainer (${id}) is not supported`);
    const docker = connect(props.host, props);
    await sweep(docker, props);
    const found = await find(docker, props.containerId);
    const runs = found?.State.Running === true || found?.State.Restarting === true;
    // Creating it again repairs that: a container that lost its name has been replaced by an interrupted run.
    if (!runs || found.Name !== `/${props.name}`) return { id: "", props };
    const restart = found.HostConfig.RestartPolicy.Name;
    return { id, inputs: { ...inputsFrom(props), restart }, props: { ...props, restart } };
  },
  async update(_id, olds, news) {
    const docker = connect(news.host, news);
    const keys = changedInputs(olds, news);
    const takesNew = keys.some((key) => key !== "restart");
    const containerId = takesNew ? await roll(docker, news, olds.claim) : olds.containerId;
    if (!takesNew && keys.length > 0) await setRestartPolicy(docker, containerId, news.restart);
    await sweep(docker, news);
    return { outs: { ...news, containerId, claim: olds.claim, engineId: olds.engineId } };
  },
  async delete(_id, props) {
    const docker = connect(props.host, props);
    const all = await containersOf(docker, props);
    const isTaken = all.some(({ Names, Labels }) => {
      return Names.includes(`/${props.name}`) && Labels[CLAIM_LABEL] !== props.claim;
    });
    if (!isTaken) await Promise.all(all.map(({ Id }) => remove(docker, Id)));
  },
};

/**
 * A container on the host's network that is replaced without a gap: the new one starts beside the old one, takes over its
 * listening sockets, and gets its name once it is healthy. If it does not get healthy, the old one goes on. The image must be
 * able to hand over, as the load balancer's is.
 */
export class RollingContainer extends DynamicResource {
  declare readonly containerId: pulumi.Output<string>;

  constructor(name: string, args: RollingContainerArgs, opts?: pulumi.CustomResourceOptions) {
    const outputs = { containerId: undefined, claim: undefined, engineId: undefined };
    const owner = args.owner ?? stackOwner();
    super(
      { file: __filename, provider: "rollingContainerProvider" },
      name,
      { ...args, owner, ...outputs },
      opts,
      "RollingContainer",
    );
  }
}
