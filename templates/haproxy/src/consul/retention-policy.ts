/**
 * What to do when the registry forgets. Consul answers with nothing, or with much less, after a restart, an election or
 * the loss of its data, while every instance goes on serving. So instances that vanish in a suspicious way are held: they
 * keep their traffic until they are registered again, until nothing listens there any more, or until the hold time is over.
 * Only instances that may get traffic count, and only those are held: anybody can register the rest by the thousand.
 * Pure: what was held and lost before and the time come in, what is held and lost now goes out.
 */
import { isAdmitted, type Instance } from "../../../../routing/build";

export interface Held {
  readonly instance: Instance;
  /** Milliseconds. */
  readonly since: number;
  /** What was suspicious, as the end of a sentence. */
  readonly why: string;
}

/** An instance that went a moment ago, when nothing was suspicious yet. */
export type Lost = Pick<Held, "instance" | "since">;

export interface HoldInput {
  /** What was in force, held instances included. */
  readonly before: readonly Instance[];
  readonly held: ReadonlyMap<string, Held>;
  /** What the last call let go. */
  readonly lost: readonly Lost[];
  /** What Consul says now. */
  readonly now: readonly Instance[];
  /** Why whatever is missing now is suspicious, if it is: Consul was lost or went back in time a short while ago. */
  readonly doubt?: string;
  /** The part of all services or of all instances, from 0 to 1, whose loss is suspicious in itself. */
  readonly share: number;
  /** Places (`address:port`) where nothing listens, as far as has been tried. */
  readonly gone: ReadonlySet<string>;
  readonly time: number;
  readonly holdTime: number;
}

export interface HoldOutput {
  readonly instances: readonly Instance[];
  readonly held: ReadonlyMap<string, Held>;
  readonly lost: readonly Lost[];
}

/**
 * With fewer services than this, that all of them go is an everyday event: somebody stops the only container. Such a
 * registry is taken at its word, unless Consul itself gives reason to doubt.
 */
const fewestServices = 3;

/**
 * Milliseconds. Consul's nodes are heard one by one, so what goes from different nodes within this time goes together. A
 * node's own answer is whole: what goes from it later is another step.
 */
const together = 2_000;

export const place = ({ address, port }: Pick<Instance, "address" | "port">): string => `${address} ${port}`;
export const instanceKey = (instance: Instance): string =>
  `${instance.service}\n${instance.address} ${instance.port}`;

export function hold(input: HoldInput): HoldOutput {
  const { now, time } = input;
  const missing = findMissing(input.before, now);
  const known = new Set(missing.map(instanceKey));
  const nodes = new Set(missing.map(({ node }) => node));
  const recent = input.lost.filter(
    ({ instance, since }) => time - since < together && !known.has(instanceKey(instance)),
  );
  const sinces = new Map(recent.map(({ instance, since }) => [instance, since]));
  const earlier = findMissing([...sinces.keys()], now);
  const all = [...missing, ...earlier];
  if (all.length === 0) return { instances: now, held: new Map(), lost: [] };

  const kept = missing.filter((instance) => input.held.has(instanceKey(instance)));
  const why =
    input.doubt ??
    (kept.length === missing.length
      ? undefined
      : landslide(
          [...input.before, ...earlier.filter(({ node }) => !nodes.has(node))],
          [...now, ...kept],
          input.share,
        ));

  const held = new Map<string, Held>();
  const lost: Lost[] = [];
  for (const instance of all) {
    const key = instanceKey(instance);
    const entry = input.held.get(key) ?? (why === undefined ? undefined : { instance, since: time, why });
    if (entry === undefined) lost.push({ instance, since: sinces.get(instance) ?? time });
    else if (time - entry.since < input.holdTime && !input.gone.has(place(instance))) held.set(key, entry);
  }
  // Usually a single one has gone and is let go; among thousands that should cost nothing.
  if (held.size === 0) return { instances: now, held, lost };

  // A port that has been given to another service is that service's.
  const ports = new Set([...held.values()].map(({ instance }) => instance.port));
  const there = now.filter(({ port }) => ports.has(port));
  const taken = new Map(there.map((instance) => [place(instance), instance.service]));
  for (const [key, { instance }] of held)
    if ((taken.get(place(instance)) ?? instance.service) !== instance.service) held.delete(key);
  const others = now.filter((instance) => !held.has(instanceKey(instance)));
  return { instances: [...others, ...[...held.values()].map(({ instance }) => instance)], held, lost };
}

const isUsable = (instance: Instance): boolean => instance.healthy && isAdmitted(instance);

/** What was usable and is not. Of thousands of instances nearly all are the same objects, which costs next to nothing. */
function findMissing(before: readonly Instance[], after: readonly Instance[]): Instance[] {
  let start = 0;
  while (start < before.length && before[start] === after[start]) start++;
  if (start === before.length) return [];
  const same = new Set(after.slice(start));
  const doubtful = before.slice(start).filter((instance) => !same.has(instance) && isUsable(instance));
  if (doubtful.length === 0) return [];
  const services = new Set(doubtful.map(({ service }) => service));
  const usable = new Set(
    after.filter(({ healthy, service }) => healthy && services.has(service)).map(instanceKey),
  );
  return doubtful.filter((instance) => !usable.has(instanceKey(instance)));
}

/**
 * So many of the services without any instance, or so many of the instances without a successor. A single service that
 * loses instances is being scaled down.
 */
function landslide(
  before: readonly Instance[],
  after: readonly Instance[],
  share: number,
): string | undefined {
  const had = countUsable(before);
  if (had.size < fewestServices) return undefined;
  const has = countUsable(after);
  const losses = [...had].map(([service, count]) => Math.max(0, count - (has.get(service) ?? 0)));
  const emptied = [...had.keys()].filter((service) => !has.has(service)).length;
  if (emptied >= had.size * share) return `${emptied} of ${had.size} services were gone at once`;
  const [all, gone] = [sum([...had.values()]), sum(losses)];
  const shrunk = losses.filter((loss) => loss > 0).length;
  return shrunk > 1 && gone >= all * share ? `${gone} of ${all} instances were gone at once` : undefined;
}

function countUsable(instances: readonly Instance[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const instance of instances)
    if (isUsable(instance)) counts.set(instance.service, (counts.get(instance.service) ?? 0) + 1);
  return counts;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0);
