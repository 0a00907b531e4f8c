/** The schema of `volumes` and `tmpfs` of a service, after Compose's. */
import { isMapping } from "../../lib/values";
import { good, isShown, unknownIn, wrong, type Checked } from "../../routing/scaling/checked";
import { sizeUnits } from "../../routing/scaling/resources";

export interface Volume {
  readonly type: "volume" | "bind" | "tmpfs";
  /** Its name, or a path on the node: absolute, or relative to the stack file. A tmpfs has none. */
  readonly source?: string;
  readonly target: string;
  readonly readOnly: boolean;
  /** Of a volume on a file server. */
  readonly driverOptions?: Readonly<Record<string, string>>;
  /** Of a tmpfs. */
  readonly sizeBytes?: number;
  readonly mode?: number;
}

const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;
/** How the names of the volumes end that a restore makes: those with the new data, and the mark of an exchange. */
export const restoreSuffixes = { beside: ".restore", mark: ".exchanging" } as const;
const pathPattern = /^[^\p{Cc}:]{1,4096}$/u;
const keys = ["type", "source", "target", "read_only", "driver_opts"] as const;
const example = '"data:/var/lib/app"';

/** Whether it is on one node, where its data stays. */
export const isOfNode = ({ type, driverOptions }: Volume): boolean =>
  type === "volume" && driverOptions === undefined;

/** Whether its data is the service's own: the service writes to it, and it is on one node. */
export const isOwn = (volume: Volume): boolean => isOfNode(volume) && !volume.readOnly;

/** Whether two instances that write to it would do so to the same files of a node. */
export const isWritten = ({ type, readOnly, driverOptions }: Volume): boolean =>
  type !== "tmpfs" && !readOnly && driverOptions === undefined;

/** Reads an entry of `volumes`: `SOURCE:TARGET[:ro|rw]`, or a mapping. */
export function readVolume(value: unknown): Checked<Volume> {
  if (typeof value === "string") return readShort(value);
  if (!isMapping(value))
    return wrong([], isShown(value), `it must be text such as ${example}, or a mapping of keys to values`);
  const unknown = unknownIn(value, keys);
  if (unknown !== undefined) return { ok: false, mistake: unknown };
  const { type, source, target, read_only: readOnly = false, driver_opts: options } = value;
  if (type !== "volume" && type !== "bind" && type !== "tmpfs")
    return wrong(["type"], isShown(type), "it must be one of volume, bind, tmpfs");
  if (typeof readOnly !== "boolean")
    return wrong(["read_only"], isShown(readOnly), "it must be true or false");
  const problem = sourceProblem(type, source);
  if (problem !== undefined) return problem;
  const path = readTarget(["target"], target);
  if (!path.ok) return path;
  if (options !== undefined && type !== "volume")
    return wrong(["driver_opts"], `is set, but the type is ${type}`, "remove it, or set type: volume");
  const driver = options === undefined ? good(undefined) : readDriverOptions(options);
  if (!driver.ok) return driver;
  return good({
    type,
    ...(typeof source === "string" && { source }),
    target: path.value,
    readOnly,
    ...(driver.value && { driverOptions: driver.value }),
  });
}

function readShort(value: string): Checked<Volume> {
  const [source = "", target, access = "rw", ...more] = value.split(":");
  if (target === undefined || more.length > 0) {
    const cure = `write SOURCE:TARGET, such as ${example}, with a name or a path as its source`;
    return wrong([], isShown(value), cure);
  }
  if (access !== "ro" && access !== "rw")
    return wrong([], `is ${JSON.stringify(value)}, which ends in ${access}`, "only ro or rw may follow");
  const type = /^[./~]/.test(source) ? "bind" : "volume";
  const problem = sourceProblem(type, source, []);
  if (problem !== undefined) return problem;
  const path = readTarget([], target);
  return path.ok ? good({ type, source, target: path.value, readOnly: access === "ro" }) : path;
}

function sourceProblem(type: Volume["type"], source: unknown, at = ["source"]): Checked<never> | undefined {
  if (type === "tmpfs")
    return source === undefined ? undefined : wrong(at, "is set, but a tmpfs has none", "remove it");
  if (type === "volume") {
    if (typeof source !== "string" || !namePattern.test(source))
      return wrong(at, isShown(source), "name the volume with letters, digits, dots, dashes or underscores");
    const { beside, mark } = restoreSuffixes;
    if (!source.endsWith(beside) && !source.endsWith(mark)) return undefined;
    const cure = `rename the volume: restores use names that end in ${beside} or ${mark}`;
    return wrong(at, isShown(source), cure);
  }
  const isPath = typeof source === "string" && /^(\/|\.{1,2}(\/|$))/.test(source) && pathPattern.test(source);
  return isPath
    ? undefined
    : wrong(at, isShown(source), 'it must be an absolute path, or one that starts with "./", without colons');
}

function readTarget(at: readonly string[], target: unknown): Checked<string> {
  const isPath =
    typeof target === "string" &&
    target.startsWith("/") &&
    pathPattern.test(target) &&
    !target.split("/").includes("..");
  const path = isPath ? target.replace(/\/+/g, "/").replace(/\/$/, "") : "";
  return path === ""
    ? wrong(
        at,
        isShown(target),
        'its target must be an absolute path in the container, such as "/var/lib/app"',
      )
    : good(path);
}

const optionPattern = /^[A-Za-z0-9:._/=,@[\]%+-]{1,1024}$/;

function readDriverOptions(value: unknown): Checked<Readonly<Record<string, string>>> {
  const at = ["driver_opts"];
  if (!isMapping(value)) return wrong(at, isShown(value), "it must be a mapping of keys to values");
  const unknown = unknownIn(value, ["type", "o", "device"]);
  if (unknown !== undefined) return { ok: false, mistake: { ...unknown, path: [...at, ...unknown.path] } };
  if (value["type"] !== "nfs" && value["type"] !== "nfs4")
    return wrong(
      [...at, "type"],
      isShown(value["type"]),
      "it must be nfs or nfs4; a folder of the node is a bind",
    );
  for (const key of ["o", "device"]) {
    const option = value[key];
    if (typeof option !== "string" || !optionPattern.test(option))
      return wrong([...at, key], isShown(option), "it must be text without blanks, as for mount");
  }
  return good(value as Readonly<Record<string, string>>);
}

const units: Readonly<Record<string, number>> = { "": 1, ...sizeUnits };

/** Reads an entry of `tmpfs`: `/run`, or with options `/run:size=64m,mode=1777`. */
export function readTmpfs(value: unknown): Checked<Volume> {
  const cure = 'write a path, or with options such as "/run:size=64m,mode=1777"';
  if (typeof value !== "string") return wrong([], isShown(value), cure);
  const [target, options = "", ...more] = value.split(":");
  const path = readTarget([], target);
  if (!path.ok) return path;
  let found: Volume = { type: "tmpfs", target: path.value, readOnly: false };
  for (const option of options === "" ? [] : options.split(",")) {
    const [, size, unit = "", mode] =
      /^(?:size=([1-9][0-9]{0,11})([kmg]?)|mode=([0-7]{3,4}))$/.exec(option) ?? [];
    if (size !== undefined) found = { ...found, sizeBytes: Number(size) * (units[unit] ?? 1) };
    else if (mode !== undefined) found = { ...found, mode: Number.parseInt(mode, 8) };
    else return wrong([], isShown(value), cure);
  }
  return more.length > 0 ? wrong([], isShown(value), cure) : good(found);
}

function options({ sizeBytes, mode }: Pick<Volume, "sizeBytes" | "mode">): string {
  const given = [
    ...(sizeBytes === undefined ? [] : [`size=${sizeBytes}`]),
    ...(mode === undefined ? [] : [`mode=${mode.toString(8)}`]),
  ];
  return given.length === 0 ? "" : `:${given.join(",")}`;
}

/** A volume as it is written in short: `data:/var/lib/app:ro`. */
export const writeVolume = ({ source, target, readOnly, driverOptions, ...volume }: Volume): string =>
  [source, target, readOnly ? "ro" : undefined].filter((part) => part !== undefined).join(":") +
  options(volume) +
  (driverOptions ? ` (${driverOptions["device"] ?? ""}, ${driverOptions["o"] ?? ""})` : "");
