/**
 * What to do when the registry forgets. Consul answers with nothing, or with much less, after a restart, an election or
 * the loss of its data, while every instance goes on serving. So instances that vanish in a suspicious way are held: they
 * keep their traffic until they are registered again, until nothing listens there any more, or until the hold time is over.
 * Pure: what was held before and the time come in, what is held now goes out.
 */
import type { Instance } from "../../../model/routes";

export interface Held {
  readonly instance: Instance;
  /** Milliseconds. */
  readonly since: number;
  /** What was suspicious, as the end of a sentence. */
  readonly why: string;
}

export interface HoldInput {
  /** What was in force, held instances included. */
  readonly before: readonly Instance[];
  readonly held: ReadonlyMap<string, Held>;
  /** What Consul says now. */
  readonly now: readonly Instance[];
  /** Why whatever is missing now is suspicious, if it is: Consul was lost or went back in time a short while ago. */
  readonly doubt?: string;
  /** The part of all services, from 0 to 1, whose loss in one step is suspicious in itself. */
  readonly share: number;
  /** Places (`address:port`) where nothing listens, as far as has been tried. */
  readonly gone: ReadonlySet<string>;
  readonly time: number;
  readonly holdTime: number;
}

export interface HoldOutput {
  readonly instances: readonly Instance[];
  readonly held: ReadonlyMap<string, Held>;
}

/** An empty registry of fewer services than this is taken at its word. */
const fewestServices = 3;

export const place = ({ address, port }: Pick<Instance, "address" | "port">): string => `${address} ${port}`;
export const instanceKey = (instance: Instance): string =>
  `${instance.service}\n${instance.address} ${instance.port}`;

export function hold(input: HoldInput): HoldOutput {
  const lost = findLost(input.before, input.now);
  if (lost.length === 0) return { instances: input.now, held: new Map() };
  const newlyLost = lost.filter((instance) => !input.held.has(instanceKey(instance)));
  const why = input.doubt ?? landslide(input.before, newlyLost, input.share);

  // A port that has been given to another service is that service's.
  const ports = new Set(lost.map(({ port }) => port));
  const there = input.now.filter(({ port }) => ports.has(port));
  const taken = new Map(there.map((instance) => [place(instance), instance.service]));
  const held = new Map<string, Held>();
  for (const instance of lost) {
    const key = instanceKey(instance);
    const earlier = input.held.get(key);
    const entry = earlier ?? (why === undefined ? undefined : { instance, since: input.time, why });
    if (entry === undefined) continue;
    if (input.time - entry.since >= input.holdTime || input.gone.has(place(instance))) continue;
    if ((taken.get(place(instance)) ?? instance.service) !== instance.service) continue;
    held.set(key, entry);
  }
  const others = input.now.filter((instance) => !held.has(instanceKey(instance)));
  return { instances: [...others, ...[...held.values()].map(({ instance }) => instance)], held };
}

/** What was usable and is not. Of thousands of instances nearly all are the same objects, which costs next to nothing. */
function findLost(before: readonly Instance[], after: readonly Instance[]): Instance[] {
  let start = 0;
  while (start < before.length && before[start] === after[start]) start++;
  const same = new Set(after.slice(start));
  const doubtful = before.slice(start).filter((instance) => instance.healthy && !same.has(instance));
  if (doubtful.length === 0) return [];
  const services = new Set(doubtful.map(({ service }) => service));
  const usable = new Set(
    after.filter(({ healthy, service }) => healthy && services.has(service)).map(instanceKey),
  );
  return doubtful.filter((instance) => !usable.has(instanceKey(instance)));
}

/** One step that takes away every usable instance of so many of the services. */
function landslide(
  before: readonly Instance[],
  lost: readonly Instance[],
  share: number,
): string | undefined {
  const count = (instances: readonly Instance[]) => {
    const counts = new Map<string, number>();
    for (const { service } of instances) counts.set(service, (counts.get(service) ?? 0) + 1);
    return counts;
  };
  const had = count(before.filter(({ healthy }) => healthy));
  const losing = count(lost);
  const emptied = [...losing].filter(([service, number]) => had.get(service) === number).length;
  return had.size >= fewestServices && emptied >= had.size * share
    ? `${emptied} of ${had.size} services were gone in one step`
    : undefined;
}
