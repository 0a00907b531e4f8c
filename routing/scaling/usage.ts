/**
 * What a node's instances use: one value in Consul's KV for each node, written every 4 s by its autoscaler.
 *
 * ```
 * switchyard-usage 2 17
 * 7gx4bbkqqdlk3uhfmuc1wq8mh 9mnpnzenvg8p8tdbtq4wvbkcz 35 0.482 104857600
 * oom 9mnpnzenvg8p8tdbtq4wvbkcz 67108864
 * ```
 *
 * The head has the version of the format and a sequence number, which changes with every writing. A line has the IDs of a Swarm
 * task and of its service, how many seconds it has run, its use in cores, and its memory in bytes without the cache of files, or
 * `-` if Docker does not tell. A line `oom` has a service of which an instance ran out of memory in the last minute, and the
 * limit that it had.
 */
import { ok, refuse, show, type Parsed } from "../grammar";

export interface TaskUsage {
  /** The ID of the Swarm service. */
  readonly service: string;
  /** Not a time: the clocks of nodes differ. */
  readonly ageSeconds: number;
  readonly cores: number;
  readonly memoryBytes?: number;
}

export interface Usage {
  readonly sequence: number;
  /** By the ID of the task. */
  readonly tasks: ReadonlyMap<string, TaskUsage>;
  /** By the ID of the service: the highest limit of instances that ran out of memory. */
  readonly outOfMemory: ReadonlyMap<string, number>;
}

const magic = "switchyard-usage 2";
const mostBytes = 512 * 1024;
const head = new RegExp(`^${magic} (0|[1-9][0-9]{0,14})$`);
const id = "([a-z0-9]{1,64})";
const bytes = "(0|[1-9][0-9]{0,14})";
const line = new RegExp(
  `^${id} ${id} (0|[1-9][0-9]{0,9}) ((?:0|[1-9][0-9]{0,4})(?:\\.[0-9]{1,3})?) (?:-|${bytes})$`,
);
const oom = new RegExp(`^oom ${id} ${bytes}$`);

const mostSeconds = 9_999_999_999;
const mostCores = 99_999;
const mostMemory = 999_999_999_999_999;
const whole = (value: number, most: number): number => Math.min(most, Math.max(0, Math.round(value)));

export function encodeUsage({ sequence, tasks, outOfMemory }: Usage): string {
  const lines = [...tasks].map(([task, { service, ageSeconds, cores, memoryBytes }]) => {
    const use = Math.min(mostCores, Math.max(0, Math.round(cores * 1_000) / 1_000));
    const memory = memoryBytes === undefined ? "-" : whole(memoryBytes, mostMemory);
    return `${task} ${service} ${whole(ageSeconds, mostSeconds)} ${use} ${memory}`;
  });
  const ends = [...outOfMemory].map(([service, limit]) => `oom ${service} ${whole(limit, mostMemory)}`);
  return [`${magic} ${sequence}`, ...lines, ...ends].join("\n");
}

/** Reads what anybody may have written. A value with a single mistake is refused as a whole. */
export function parseUsage(value: string): Parsed<Usage> {
  if (value.length > mostBytes) return refuse(`has more than ${mostBytes} bytes`);
  const [first = "", ...lines] = value.split("\n");
  const sequence = head.exec(first)?.[1];
  if (sequence === undefined) return refuse(`starts with ${show(first)} instead of "${magic}" and a number`);
  const tasks = new Map<string, TaskUsage>();
  const outOfMemory = new Map<string, number>();
  for (const each of lines) {
    const [, ended, limit] = oom.exec(each) ?? [];
    const [, task, service, age, cores, memory] = line.exec(each) ?? [];
    if (ended !== undefined) {
      if (outOfMemory.has(ended)) return refuse(`tells twice that ${show(ended)} ran out of memory`);
      outOfMemory.set(ended, Number(limit));
      continue;
    }
    if (task === undefined || service === undefined)
      return refuse(`has the line ${show(each)}, which is not a task, its service, its age and its use`);
    if (tasks.has(task)) return refuse(`tells of ${show(task)} twice`);
    tasks.set(task, {
      service,
      ageSeconds: Number(age),
      cores: Number(cores),
      ...(memory !== undefined && { memoryBytes: Number(memory) }),
    });
  }
  return ok({ sequence: Number(sequence), tasks, outOfMemory });
}
