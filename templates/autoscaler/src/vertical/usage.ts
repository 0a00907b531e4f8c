/** What a service's instances have used, as far as recommendations need it. Pure, and small enough for Consul's KV. */
import { isMapping, parseJson } from "../../../../lib/values";
import { ok, refuse, type Parsed } from "../../../../routing/grammar";
import { addValue, emptyHistogram, memoryShape, processorShape, readHistogram, storeHistogram, type Histogram } from "./histogram"; // prettier-ignore

/** The highest use of memory of a day, which is the only sample of the day. */
interface Peak {
  /** When the day began, in milliseconds. */
  readonly sinceMs: number;
  readonly bytes: number;
}

export interface Usage {
  /** When the first sample came. */
  readonly sinceMs: number;
  /** How many minutes have samples. */
  readonly minutes: number;
  readonly processor: Histogram;
  readonly memory: Histogram;
  readonly peak: Peak | undefined;
}

/** What an instance uses. */
export interface InstanceUse {
  /** A mean, over a minute where it becomes a sample. */
  readonly cores: number;
  /** Without the cache of files, which Docker's own figure includes. */
  readonly memoryBytes: number;
}

const dayMs = 24 * 3_600_000;

export const newUsage = (nowMs: number): Usage => ({
  sinceMs: nowMs,
  minutes: 0,
  processor: emptyHistogram(nowMs),
  memory: emptyHistogram(nowMs),
  peak: undefined,
});

/**
 * Adds what the instances use. Call it once a minute: confidence counts the calls.
 *
 * @param nowMs the time in milliseconds since 1970, because usage outlives the autoscaler
 */
export function addUse(usage: Usage, instances: readonly InstanceUse[], nowMs: number): Usage {
  if (instances.length === 0) return usage;
  const processor = instances.reduce(
    (histogram, { cores }) => addValue(histogram, processorShape, cores, nowMs),
    usage.processor,
  );
  const bytes = Math.max(...instances.map(({ memoryBytes }) => memoryBytes));
  return addPeak({ ...usage, processor, minutes: usage.minutes + 1 }, bytes, nowMs);
}

const oomFactor = 1.2;
const oomMoreBytes = 100 * 1024 ** 2;

/**
 * Adds an instance that ran out of memory. It would have used more than it had, so its next sample is what it had × 1.2, or
 * 100 MiB more, whichever is higher.
 *
 * @param bytes the higher of its limit and its last use
 */
export const addOutOfMemory = (usage: Usage, bytes: number, nowMs: number): Usage =>
  addPeak(usage, Math.max(bytes * oomFactor, bytes + oomMoreBytes), nowMs);

/** The day's sample rises with the day's peak: the old one is taken out again. */
function addPeak(usage: Usage, bytes: number, nowMs: number): Usage {
  const { peak } = usage;
  const today = peak !== undefined && nowMs - peak.sinceMs < dayMs ? peak : undefined;
  if (today !== undefined && bytes <= today.bytes) return usage;
  const sinceMs = today?.sinceMs ?? nowMs;
  const without =
    today === undefined ? usage.memory : addValue(usage.memory, memoryShape, today.bytes, sinceMs, -1);
  return { ...usage, memory: addValue(without, memoryShape, bytes, sinceMs), peak: { sinceMs, bytes } };
}

/** Usage as compact JSON, about 1 kB. */
export const storeUsage = ({ sinceMs, minutes, processor, memory, peak }: Usage): string =>
  JSON.stringify({
    v: 1,
    since: sinceMs,
    n: minutes,
    cpu: storeHistogram(processor),
    mem: storeHistogram(memory),
    ...(peak !== undefined && { peak: [peak.sinceMs, Math.round(peak.bytes)] }),
  });

const longest = 16_384;

/** Reads what {@link storeUsage} wrote, or what somebody else did. */
export function readUsage(text: string): Parsed<Usage> {
  if (text.length > longest) return refuse("is too long");
  const value = parseJson(text);
  if (value === undefined) return refuse("is not JSON");
  if (!isMapping(value) || value["v"] !== 1) return refuse("is not usage of version 1");
  const { since, n, peak } = value;
  if (!isTime(since) || !Number.isInteger(n) || Number(n) < 0)
    return refuse("has no time or number of samples");
  const processor = readHistogram(value["cpu"]);
  if (!processor.ok) return refuse(`cpu ${processor.error}`);
  const memory = readHistogram(value["mem"]);
  if (!memory.ok) return refuse(`mem ${memory.error}`);
  const [sinceMs, bytes] = Array.isArray(peak) ? (peak as unknown[]) : [];
  if (peak !== undefined && (!isTime(sinceMs) || !isTime(bytes))) return refuse("has a peak that cannot be");
  return ok({
    sinceMs: since,
    minutes: Number(n),
    processor: processor.value,
    memory: memory.value,
    peak: isTime(sinceMs) && isTime(bytes) ? { sinceMs, bytes } : undefined,
  });
}

const isTime = (value: unknown): value is number =>
  typeof value === "number" && Number.isFinite(value) && value >= 0;
