/** Limits of memory and processor that the autoscaler chooses: `auto`, or bounds such as `{ min: 64m, max: 1g }`. */
import { isMapping } from "../../lib/values";
import { good, isShown, unknownIn, wrong, type Checked } from "./checked";

/** Bounds of an automatic limit, in bytes or cores. */
export interface AutoLimit {
  readonly min: number;
  readonly max: number;
}

/** The units of sizes, in bytes. */
export const sizeUnits = { k: 1024, m: 1024 ** 2, g: 1024 ** 3 } as const;

/** Never less: 16 MiB, and a hundredth of a core. */
export const floors = { memoryBytes: 16 * sizeUnits.m, cores: 0.01 } as const;

const mostMemoryBytes = 1024 * sizeUnits.g;
export const mostCores = 1024;

interface Kind {
  readonly floor: number;
  readonly most: number;
  readonly form: string;
  /** Undefined for a value of another form. */
  read(value: unknown): number | undefined;
}

const memory: Kind = {
  floor: floors.memoryBytes,
  most: mostMemoryBytes,
  form: "a size from 16m to 1024g, such as 64m",
  read: (value) => {
    const size = typeof value === "string" ? /^([1-9][0-9]{0,6})([kmg])$/.exec(value) : null;
    return size === null ? undefined : Number(size[1]) * sizeUnits[size[2] as keyof typeof sizeUnits];
  },
};

const cpus: Kind = {
  floor: floors.cores,
  most: mostCores,
  form: "a number from 0.01 to 1024, with at most two decimals",
  read: (value) => (typeof value === "number" && Number(value.toFixed(2)) === value ? value : undefined),
};

/** Reads an automatic `memory`, in bytes. Undefined if the value is a fixed size, which is somebody else's to read. */
export const readAutoMemory = (value: unknown): Checked<AutoLimit> | undefined => readAuto(value, memory);

/** Reads automatic `cpus`, in cores. Undefined if the value is a fixed number, which is somebody else's to read. */
export const readAutoCpus = (value: unknown): Checked<AutoLimit> | undefined => readAuto(value, cpus);

function readAuto(value: unknown, kind: Kind): Checked<AutoLimit> | undefined {
  if (value === "auto") return good({ min: kind.floor, max: kind.most });
  if (!isMapping(value)) return undefined;
  const unknown = unknownIn(value, ["min", "max"]);
  if (unknown !== undefined) return { ok: false, mistake: unknown };
  const min = readBound("min", value["min"], kind.floor, kind);
  if (!min.ok) return min;
  const max = readBound("max", value["max"], kind.most, kind);
  if (!max.ok) return max;
  return max.value < min.value
    ? wrong(["max"], `${isShown(value["max"])}, less than min`, "raise max, or lower min")
    : good({ min: min.value, max: max.value });
}

function readBound(key: string, value: unknown, fallback: number, kind: Kind): Checked<number> {
  const read = value === undefined ? fallback : kind.read(value);
  return read !== undefined && read >= kind.floor && read <= kind.most
    ? good(read)
    : wrong([key], isShown(value), `it must be ${kind.form}`);
}

export type LimitKind = "memory" | "cpus";

/** A limit in words: `128 MiB`, or `0.5` cores. */
export const showLimit = (kind: LimitKind, value: number): string =>
  kind === "cpus"
    ? String(Number(value.toFixed(2)))
    : value >= 10 * sizeUnits.g
      ? `${Math.ceil(value / sizeUnits.g)} GiB`
      : `${Math.ceil(value / sizeUnits.m)} MiB`;
