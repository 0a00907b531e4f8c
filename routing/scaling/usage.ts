/**
 * The processor use of a node's instances: one value in Consul's KV for each node, written every 4 s by its autoscaler while the
 * use of some service's instances decides.
 *
 * ```
 * switchyard-usage 1 17
 * 7gx4bbkqqdlk3uhfmuc1wq8mh 35 0.482
 * ```
 *
 * The head has the version of the format and a sequence number, which changes with every writing. A line has the ID of a Swarm
 * task, how many seconds it has run, and its use in cores.
 */
import { ok, refuse, show, type Parsed } from "../grammar";

export interface TaskUsage {
  /** Not a time: the clocks of nodes differ. */
  readonly ageSeconds: number;
  readonly cores: number;
}

export interface Usage {
  readonly sequence: number;
  /** By the ID of the task. */
  readonly tasks: ReadonlyMap<string, TaskUsage>;
}

const magic = "switchyard-usage 1";
const mostBytes = 512 * 1024;
const head = new RegExp(`^${magic} (0|[1-9][0-9]{0,14})$`);
const line = /^([a-z0-9]{1,64}) (0|[1-9][0-9]{0,9}) ((?:0|[1-9][0-9]{0,4})(?:\.[0-9]{1,3})?)$/;

const mostSeconds = 9_999_999_999;
const mostCores = 99_999;

export function encodeUsage({ sequence, tasks }: Usage): string {
  const lines = [...tasks].map(([task, { ageSeconds, cores }]) => {
    const age = Math.min(mostSeconds, Math.max(0, Math.round(ageSeconds)));
    const use = Math.min(mostCores, Math.max(0, Math.round(cores * 1_000) / 1_000));
    return `${task} ${age} ${use}`;
  });
  return [`${magic} ${sequence}`, ...lines].join("\n");
}

/** Reads what anybody may have written. A value with a single mistake is refused as a whole. */
export function parseUsage(value: string): Parsed<Usage> {
  if (value.length > mostBytes) return refuse(`has more than ${mostBytes} bytes`);
  const [first = "", ...lines] = value.split("\n");
  const sequence = head.exec(first)?.[1];
  if (sequence === undefined) return refuse(`starts with ${show(first)} instead of "${magic}" and a number`);
  const tasks = new Map<string, TaskUsage>();
  for (const each of lines) {
    const [, task, age, cores] = line.exec(each) ?? [];
    if (task === undefined)
      return refuse(`has the line ${show(each)}, which is not a task, its age and its use`);
    if (tasks.has(task)) return refuse(`tells of ${show(task)} twice`);
    tasks.set(task, { ageSeconds: Number(age), cores: Number(cores) });
  }
  return ok({ sequence: Number(sequence), tasks });
}
