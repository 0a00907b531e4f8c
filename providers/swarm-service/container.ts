/** What instances see of the world, and what they may do in it: mounts, files, user and rights. Pure. */
import { given, isMapping } from "../../lib/values";

export interface MountInputs {
  readonly type: "volume" | "bind" | "tmpfs";
  /** The volume's name, or a path on the node. A tmpfs has none. */
  readonly source?: string;
  /** The path in the container. */
  readonly target: string;
  readonly readOnly?: boolean;
  /** For a volume that does not exist yet: labels, and options of the driver `local`. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly driverOptions?: Readonly<Record<string, string>>;
  /** Of a tmpfs. */
  readonly sizeBytes?: number;
  /** Of a tmpfs: permissions, such as 0o1777. */
  readonly mode?: number;
}

/** A Swarm secret or config as a file. */
export interface FileInputs {
  readonly id: string;
  readonly name: string;
  /** A path, for secrets relative to /run/secrets. */
  readonly target: string;
  /** Default: 0. */
  readonly uid?: string;
  readonly gid?: string;
  /** Default: 0o444. */
  readonly mode?: number;
}

export interface UlimitInputs {
  readonly soft: number;
  readonly hard: number;
}

export interface ContainerInputs {
  readonly mounts?: readonly MountInputs[];
  readonly secrets?: readonly FileInputs[];
  readonly configs?: readonly FileInputs[];
  /** Default: the image's. */
  readonly user?: string;
  readonly readOnly?: boolean;
  readonly init?: boolean;
  readonly capAdd?: readonly string[];
  readonly capDrop?: readonly string[];
  readonly ulimits?: Readonly<Record<string, UlimitInputs>>;
  /** Default: the image's. */
  readonly stopSignal?: string;
}

/** The inputs, in the order in which changes are reported. */
export const CONTAINER_KEYS = [
  "mounts",
  "secrets",
  "configs",
  "user",
  "readOnly",
  "init",
  "capAdd",
  "capDrop",
  "ulimits",
  "stopSignal",
] as const satisfies readonly (keyof ContainerInputs)[];

/** Those of which the order means nothing. */
const UNORDERED: readonly string[] = ["mounts", "secrets", "configs", "capAdd", "capDrop"];

/** An input in a form that is the same for equivalent values. */
export function ordered(key: string, value: unknown): unknown {
  if (!UNORDERED.includes(key) || !Array.isArray(value)) return value;
  return sorted(key === "secrets" || key === "configs" ? value.map(withoutDefaults) : value);
}

/** A file without what is Docker's default anyway. */
function withoutDefaults(file: unknown): unknown {
  if (!isMapping(file)) return file;
  const defaults: Readonly<Record<string, unknown>> = { uid: "0", gid: "0", mode: 0o444 };
  return Object.fromEntries(Object.entries(file).filter(([key, value]) => defaults[key] !== value));
}

const sorted = (items: readonly unknown[]): unknown[] =>
  [...items].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
const keyOf = (item: unknown): string =>
  typeof item === "string" ? item : String((item as { target?: unknown } | null)?.target);

interface MountSpec {
  readonly Type: MountInputs["type"];
  readonly Source?: string | undefined;
  readonly Target: string;
  readonly ReadOnly?: boolean | undefined;
  readonly VolumeOptions?: {
    readonly Labels?: Readonly<Record<string, string>> | undefined;
    readonly DriverConfig?: { readonly Name: string; readonly Options: Readonly<Record<string, string>> };
  };
  readonly TmpfsOptions?: { readonly SizeBytes?: number | undefined; readonly Mode?: number | undefined };
}

interface FileSpec {
  readonly File?: {
    readonly Name: string;
    readonly UID: string;
    readonly GID: string;
    readonly Mode: number;
  };
}

/** The fields of Docker's ContainerSpec. */
export interface ContainerPart {
  readonly Mounts?: readonly MountSpec[] | undefined;
  readonly Secrets?: readonly (FileSpec & { readonly SecretID: string; readonly SecretName: string })[] | undefined; // prettier-ignore
  readonly Configs?: readonly (FileSpec & { readonly ConfigID: string; readonly ConfigName: string })[] | undefined; // prettier-ignore
  readonly User?: string | undefined;
  readonly ReadOnly?: boolean | undefined;
  readonly Init?: boolean | undefined;
  readonly CapabilityAdd?: readonly string[] | undefined;
  readonly CapabilityDrop?: readonly string[] | undefined;
  readonly Ulimits?: readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[] | undefined; // prettier-ignore
  readonly StopSignal?: string | undefined;
}

const isOn = (value: boolean | undefined): true | undefined => (value === true ? true : undefined);

export function containerPart(inputs: ContainerInputs): ContainerPart {
  const inOrder = <T>(key: keyof ContainerInputs, items: readonly T[] | undefined) =>
    ordered(key, items) as T[] | undefined;
  return given({
    Mounts: inOrder("mounts", inputs.mounts)?.map(mountSpec),
    Secrets: inOrder("secrets", inputs.secrets)?.map((file) => ({
      SecretID: file.id,
      SecretName: file.name,
      ...fileSpec(file),
    })),
    Configs: inOrder("configs", inputs.configs)?.map((file) => ({
      ConfigID: file.id,
      ConfigName: file.name,
      ...fileSpec(file),
    })),
    User: inputs.user,
    ReadOnly: isOn(inputs.readOnly),
    Init: isOn(inputs.init),
    CapabilityAdd: inOrder("capAdd", inputs.capAdd),
    CapabilityDrop: inOrder("capDrop", inputs.capDrop),
    Ulimits:
      inputs.ulimits &&
      Object.entries(inputs.ulimits).map(([Name, { soft, hard }]) => ({ Name, Soft: soft, Hard: hard })),
    StopSignal: inputs.stopSignal,
  });
}

function mountSpec({ type, source, target, readOnly, ...options }: MountInputs): MountSpec {
  const { labels, driverOptions, sizeBytes, mode } = options;
  return given({
    Type: type,
    Source: source,
    Target: target,
    ReadOnly: isOn(readOnly),
    ...(type === "volume" && {
      VolumeOptions: given({
        Labels: labels,
        ...(driverOptions && { DriverConfig: { Name: "local", Options: driverOptions } }),
      }),
    }),
    ...(type === "tmpfs" && { TmpfsOptions: given({ SizeBytes: sizeBytes, Mode: mode }) }),
  });
}

const fileSpec = ({ target, uid = "0", gid = "0", mode = 0o444 }: FileInputs): FileSpec => ({
  File: { Name: target, UID: uid, GID: gid, Mode: mode },
});

/** The inverse of {@link containerPart}. */
export function containerInputsOf(part: ContainerPart): ContainerInputs {
  return given({
    mounts: part.Mounts?.map(mountInputs),
    secrets: part.Secrets?.map(({ SecretID, SecretName, File }) => fileInputs(SecretID, SecretName, File)),
    configs: part.Configs?.map(({ ConfigID, ConfigName, File }) => fileInputs(ConfigID, ConfigName, File)),
    user: part.User,
    readOnly: isOn(part.ReadOnly),
    init: isOn(part.Init),
    capAdd: part.CapabilityAdd,
    capDrop: part.CapabilityDrop,
    ulimits:
      part.Ulimits &&
      Object.fromEntries(part.Ulimits.map(({ Name, Soft, Hard }) => [Name, { soft: Soft, hard: Hard }])),
    stopSignal: part.StopSignal,
  });
}

function mountInputs({
  Type,
  Source,
  Target,
  ReadOnly,
  VolumeOptions,
  TmpfsOptions,
}: MountSpec): MountInputs {
  return given({
    type: Type,
    source: Source,
    target: Target,
    readOnly: isOn(ReadOnly),
    labels: VolumeOptions?.Labels,
    driverOptions: VolumeOptions?.DriverConfig?.Options,
    sizeBytes: TmpfsOptions?.SizeBytes,
    mode: TmpfsOptions?.Mode,
  });
}

const fileInputs = (id: string, name: string, file: FileSpec["File"]): FileInputs => ({
  id,
  name,
  target: file?.Name ?? "",
  uid: file?.UID ?? "0",
  gid: file?.GID ?? "0",
  mode: file?.Mode ?? 0o444,
});
