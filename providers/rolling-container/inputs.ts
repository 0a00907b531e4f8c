/** The inputs of a rolling container, and their translation into Docker's definition. Pure. */
import { canonical } from "../../lib/values";
import { OWNER_LABEL, ownerOf } from "../owner";

export interface VolumeInputs {
  /** A volume's name. Give this or `hostPath`. */
  readonly volumeName?: string;
  /** A path on the node. */
  readonly hostPath?: string;
  readonly containerPath: string;
  /** Default: false. */
  readonly readOnly?: boolean;
}

export interface CapabilityInputs {
  readonly adds?: readonly string[];
  readonly drops?: readonly string[];
}

/** The inputs that define a container. Every change but that of `restart` takes a new one. */
export interface ContainerInputs {
  readonly owner?: string;
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly restart: string;
  readonly capabilities?: CapabilityInputs;
  readonly readOnly?: boolean;
  /** The number of processes and threads. Default: no limit. */
  readonly pidsLimit?: number;
  readonly volumes?: readonly VolumeInputs[];
  readonly logOpts?: Readonly<Record<string, string>>;
}

const INPUT_KEYS = [
  "owner",
  "name",
  "image",
  "command",
  "env",
  "labels",
  "restart",
  "capabilities",
  "readOnly",
  "pidsLimit",
  "volumes",
  "logOpts",
] as const satisfies readonly (keyof ContainerInputs)[];

export type InputKey = (typeof INPUT_KEYS)[number];

/** Identifies the resource that made the container. */
export const CLAIM_LABEL = "switchyard.claim";
/** The container hands its listening sockets over to the next one. Earlier versions did not. */
export const HANDOVER_LABEL = "switchyard.handover";

/** The names of inputs that differ. In a preview, a value that is not known yet differs from every known one. */
export function changedInputs(olds: ContainerInputs, news: ContainerInputs): InputKey[] {
  return INPUT_KEYS.filter((key) => canonical(olds[key]) !== canonical(news[key]));
}

/** Docker's definition of the container. */
export function definitionOf(inputs: ContainerInputs, claim: string): object {
  const { image, command, env = {}, labels, restart, capabilities, readOnly } = inputs;
  const { pidsLimit, volumes = [], logOpts } = inputs;
  return {
    Image: image,
    Cmd: command,
    Env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
    Labels: { ...labels, [OWNER_LABEL]: ownerOf(inputs), [CLAIM_LABEL]: claim, [HANDOVER_LABEL]: "1" },
    HostConfig: {
      NetworkMode: "host",
      RestartPolicy: { Name: restart },
      CapAdd: capabilities?.adds,
      CapDrop: capabilities?.drops,
      ReadonlyRootfs: readOnly,
      PidsLimit: pidsLimit,
      Binds: volumes.map(
        (volume) =>
          `${volume.volumeName ?? volume.hostPath ?? ""}:${volume.containerPath}:${volume.readOnly ? "ro" : "rw"}`,
      ),
      LogConfig: { Config: logOpts },
    },
  };
}
