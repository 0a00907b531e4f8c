/**
 * Which instances to retain when Consul forgets them. After a restart, an election or a loss of data, Consul answers with
 * nothing or with much less, while every instance goes on serving. Instances that disappear in such a suspect way keep
 * their traffic until they register again, nothing listens at their address, or the retention time ends.
 *
 * Only instances that may get traffic count and are retained: anybody can register others by the thousand.
 * Pure: takes what was retained and lost before, and the time; returns what is retained and lost now.
 */
import { isAdmitted } from "../../../../routing/build";
import type { Instance } from "../../../../routing/types";

export interface Retained {
  readonly instance: Instance;
  /** When it disappeared, in milliseconds since 1970. */
  readonly since: number;
  /** Why its disappearance is suspect, as the end of a sentence. */
  readonly why: string;
}

/** An instance that disappeared a moment ago, when nothing was suspect yet. */
export type Lost = Pick<Retained, "instance" | "since">;

export interface RetentionInput {
  /** The instances in force, retained ones included. */
  readonly before: readonly Instance[];
  readonly retained: ReadonlyMap<string, Retained>;
  /** What the last call returned as lost. */
  readonly lost: readonly Lost[];
  /** What Consul says now. */
  readonly now: readonly Instance[];
  /** Why every loss is suspect, if it is: Consul failed or went back in time a short while ago. */
  readonly suspect?: string;
  /** The part of all services or of all instances, from 0 to 1, whose loss at once is suspect. */
  readonly share: number;
  /** Addresses, by `addressKey`, at which nothing listens. */
  readonly silent: ReadonlySet<string>;
  /** Now, in milliseconds since 1970. */
  readonly time: number;
  /** How long an instance is retained. */
  readonly retentionMs: number;
}

export interface RetentionOutput {
  readonly instances: readonly Instance[];
  readonly retained: ReadonlyMap<string, Retained>;
  readonly lost: readonly Lost[];
}

/**
 * With fewer services than this, losing all of them is an everyday event: somebody stops the only container. Such a loss is
 * believed unless Consul itself is suspect.
 */
const minServices = 3;

/**
 * Consul's nodes are watched one by one, so losses on different nodes within this time count as one. A node's own answer
 * is complete: what disappears from it later is a separate loss.
 */
const sameLossMs = 2_000;

export const addressKey = ({ address, port }: Pick<Instance, "address" | "port">): string =>
  `${address} ${port}`;
export const instanceKey = (instance: Instance): string => `${instance.service}\n${addressKey(instance)}`;

export function retain(input: RetentionInput): RetentionOutput {
  const { now, time } = input;
  const missing = findMissing(input.before, now);
  const known = new Set(missing.map(instanceKey));
  const nodes = new Set(missing.map(({ node }) => node));
  const recent = input.lost.filter(
    ({ instance, since }) => time - since < sameLossMs && !known.has(instanceKey(instance)),
  );
  const sinces = new Map(recent.map(({ instance, since }) => [instance, since]));
  const earlier = findMissing([...sinces.keys()], now);
  // What was a loss of its own has probably ended on purpose, and another service may have its address by now.
  const joined = input.suspect === undefined ? earlier.filter(({ node }) => !nodes.has(node)) : earlier;
  const all = [...missing, ...earlier];
  if (all.length === 0) return { instances: now, retained: new Map(), lost: [] };

  const kept = missing.filter((instance) => input.retained.has(instanceKey(instance)));
  const why =
    input.suspect ??
    (kept.length === missing.length
      ? undefined
      : massLoss([...input.before, ...joined], [...now, ...kept], input.share));

  const suspects = new Set(why === undefined ? [] : [...missing, ...joined]);

  const retained = new Map<string, Retained>();
  const lost: Lost[] = [];
  for (const instance of all) {
    const key = instanceKey(instance);
    const suspect = why !== undefined && suspects.has(instance) ? { instance, since: time, why } : undefined;
    const entry = input.retained.get(key) ?? suspect;
    if (entry === undefined) lost.push({ instance, since: sinces.get(instance) ?? time });
    else if (time - entry.since < input.retentionMs && !input.silent.has(addressKey(instance)))
      retained.set(key, entry);
  }
  // The usual case is a single instance that has gone. Keep it cheap among thousands.
  if (retained.size === 0) return { instances: now, retained, lost };

  // Once another service has the address, do not send it requests for the old one.
  const ports = new Set([...retained.values()].map(({ instance }) => instance.port));
  const owners = new Map(
    now.filter(({ port }) => ports.has(port)).map((instance) => [addressKey(instance), instance.service]),
  );
  for (const [key, { instance }] of retained)
    if ((owners.get(addressKey(instance)) ?? instance.service) !== instance.service) retained.delete(key);
  const others = now.filter((instance) => !retained.has(instanceKey(instance)));
  return {
    instances: [...others, ...[...retained.values()].map(({ instance }) => instance)],
    retained,
    lost,
  };
}

const isUsable = (instance: Instance): boolean => instance.healthy && isAdmitted(instance);

/** The instances that were usable and no longer are. Cheap, because unchanged instances are the same objects. */
function findMissing(before: readonly Instance[], after: readonly Instance[]): Instance[] {
  let start = 0;
  while (start < before.length && before[start] === after[start]) start++;
  if (start === before.length) return [];
  const same = new Set(after.slice(start));
  const changed = before.slice(start).filter((instance) => !same.has(instance) && isUsable(instance));
  if (changed.length === 0) return [];
  const services = new Set(changed.map(({ service }) => service));
  const usable = new Set(
    after.filter(({ healthy, service }) => healthy && services.has(service)).map(instanceKey),
  );
  return changed.filter((instance) => !usable.has(instanceKey(instance)));
}

/**
 * What makes a loss suspect: this share of the services without any instance, or this share of the instances without a
 * replacement. A single service that loses instances is being scaled down.
 */
function massLoss(
  before: readonly Instance[],
  after: readonly Instance[],
  share: number,
): string | undefined {
  const had = countUsable(before);
  if (had.size < minServices) return undefined;
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
