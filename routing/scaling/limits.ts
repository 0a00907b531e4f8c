/**
 * Limits that the autoscaler has chosen. They are labels of the Swarm service, `switchyard.limits.memory` in bytes and
 * `switchyard.limits.cpus` in cores, and for all nodes one value in Consul's KV:
 *
 * ```
 * switchyard-limits 1
 * 9mnpnzenvg8p8tdbtq4wvbkcz 134217728 0.5
 * ```
 *
 * A line has the ID of a Swarm service, its memory and its cores; `-` is a limit that is not automatic, or not chosen yet.
 */
import { ok, refuse, show, type Parsed } from "../grammar";
import type { Labels, Scaling } from "./labels";
import type { AutoLimit } from "./resources";

export interface ChosenLimits {
  readonly memoryBytes?: number;
  readonly cores?: number;
}

const labels = { memory: "switchyard.limits.memory", cpus: "switchyard.limits.cpus" } as const;

const amount = "(?:0|[1-9][0-9]{0,14})(?:\\.[0-9]{1,3})?";
const number = new RegExp(`^${amount}$`);

export const writeChosen = ({ memoryBytes, cores }: ChosenLimits): Labels => ({
  ...(memoryBytes !== undefined && { [labels.memory]: String(memoryBytes) }),
  ...(cores !== undefined && { [labels.cpus]: String(cores) }),
});

/** What is chosen for a service, within its bounds: they may have changed since. */
export function readChosen(given: Labels, { memory, cpus }: Scaling): ChosenLimits {
  const memoryBytes = within(given[labels.memory], memory);
  const cores = within(given[labels.cpus], cpus);
  return { ...(memoryBytes !== undefined && { memoryBytes }), ...(cores !== undefined && { cores }) };
}

const within = (value: string | undefined, bounds: AutoLimit | undefined): number | undefined =>
  value === undefined || bounds === undefined || !number.test(value)
    ? undefined
    : Math.min(bounds.max, Math.max(bounds.min, Number(value)));

const magic = "switchyard-limits 1";
const mostCharacters = 512 * 1024;
const line = new RegExp(`^([a-z0-9]{25}) (?:-|([1-9][0-9]{0,14})) (?:-|(${amount}))$`);

/** @param limits by the ID of the service */
export function encodeLimits(limits: ReadonlyMap<string, ChosenLimits>): string {
  const lines = [...limits].map(
    ([id, { memoryBytes, cores }]) => `${id} ${memoryBytes ?? "-"} ${cores ?? "-"}`,
  );
  return [magic, ...lines.sort()].join("\n");
}

/** Reads what anybody may have written. A value with a single mistake is refused as a whole. */
export function parseLimits(value: string): Parsed<ReadonlyMap<string, ChosenLimits>> {
  if (value.length > mostCharacters) return refuse(`has more than ${mostCharacters} characters`);
  const [first = "", ...lines] = value.split("\n");
  if (first !== magic) return refuse(`starts with ${show(first)} instead of "${magic}"`);
  const limits = new Map<string, ChosenLimits>();
  for (const each of lines) {
    const [, id, memory, cores] = line.exec(each) ?? [];
    if (id === undefined) return refuse(`has the line ${show(each)}, which is not a service and its limits`);
    if (limits.has(id)) return refuse(`tells of ${show(id)} twice`);
    limits.set(id, {
      ...(memory !== undefined && { memoryBytes: Number(memory) }),
      ...(cores !== undefined && { cores: Number(cores) }),
    });
  }
  return ok(limits);
}
