/** Chooses which version of a service answers requests that do not name one. */
import { kv, parseVersion, show } from "./grammar";
import { hostsOf } from "./hosts";
import type { Backend, Pins, Probed, Problem, Route, Target } from "./types";

/** Percentages by version. A pin (`v1`) is a single share of 100. */
type Shares = ReadonlyMap<number, number>;

const share = /^v(0|[1-9][0-9]{0,8})=([1-9][0-9]?|100)$/;
const pin = /^v(0|[1-9][0-9]{0,8})$/;

export function parseShares(value: string): Shares | undefined {
  const single = pin.exec(value);
  if (single !== null) return new Map([[Number(single[1]), 100]]);
  const shares = new Map<number, number>();
  for (const part of value.split(",")) {
    const match = share.exec(part);
    if (match === null || shares.has(Number(match[1]))) return undefined;
    shares.set(Number(match[1]), Number(match[2]));
  }
  return [...shares.values()].reduce((sum, each) => sum + each, 0) === 100 ? shares : undefined;
}

export function readPins(values: Readonly<Record<string, string>>, lastGood: Pins = new Map()): Pins {
  const pins = new Map<string, string>();
  for (const [key, value] of Object.entries(values)) {
    if (!key.startsWith(kv.versions)) continue;
    const used = parseShares(value) === undefined ? lastGood.get(key) : value;
    if (used !== undefined) pins.set(key, used);
  }
  return pins;
}

/** The versions of each service, by the key of the route they share. */
export type Families = ReadonlyMap<string, readonly Member[]>;

interface Member {
  /** The key of the shared route. */
  readonly key: string;
  readonly kvKey: string;
  readonly host: string | undefined;
  /** The name without the version. */
  readonly base: string;
  readonly number: number;
  readonly backend: Backend;
}

/** A KV value that chooses versions, and the one in force: the last usable value. */
interface Pin {
  readonly value: string | undefined;
  readonly pin: string | undefined;
}

interface Chosen {
  readonly route: Route;
  readonly problems: readonly Problem[];
}

/** Caches, as in build.ts. Results stay valid for the same backends. */
const memberships = new WeakMap<Backend, readonly Member[]>();
const choices = new WeakMap<Member, Chosen & { readonly of: readonly unknown[] }>();

export function chooseVersions(
  families: Families,
  taken: ReadonlyMap<string, Route>,
  values: Readonly<Record<string, string>>,
  pins: Pins,
  probed: Probed = {},
): { routes: Route[]; problems: Problem[] } {
  const routes: Route[] = [];
  const problems: Problem[] = [];
  const ready = readiness(probed);
  const registered = readiness({ sleeping: probed.sleeping });
  for (const [key, members] of families) {
    // A service with the plain base name takes precedence.
    if (taken.has(key)) continue;
    const [first] = members;
    if (first === undefined) continue;
    const value = Object.hasOwn(values, first.kvKey) ? values[first.kvKey] : undefined;
    const pin = pins.get(first.kvKey);
    // A single version answers whether or not it is ready, so the reason depends on Consul's view only.
    const only = members.length === 1 && value === undefined;
    const of = only
      ? [...members, registered(first.backend)]
      : [value, pin, ...members, ...members.map(({ backend }) => ready(backend))];
    const known = choices.get(first);
    const same = known?.of.length === of.length && known.of.every((each, index) => each === of[index]);
    const chosen = same
      ? known
      : { ...choose(first, members, { value, pin }, only ? registered : ready), of };
    if (!same) choices.set(first, chosen);
    routes.push(chosen.route);
    problems.push(...chosen.problems);
  }
  return { routes, problems };
}

function choose(
  { host, base, kvKey }: Member,
  members: readonly Member[],
  { value, pin }: Pin,
  ready: Readiness,
): Chosen {
  const versions = new Map(members.map(({ number, backend }) => [number, backend]));
  const problems: Problem[] = [];
  const shares = pin === undefined ? undefined : parseShares(pin);
  if (value !== undefined && value !== pin)
    problems.push({
      level: "warning",
      subject: kvKey,
      message: `The KV value ${show(value)} of ${kvKey} is neither a version (v1) nor shares that add up to 100 (v1=90,v2=10); ${pin === undefined ? "the newest version answers instead" : `${pin} stays in force`}. Set it with: consul kv put ${kvKey} ${pin ?? "v1"}`,
    });
  const { targets, choice } =
    shares === undefined
      ? newest(versions, ready)
      : shared(versions, shares, ready, value === pin ? "set by KV" : "last usable value of KV");
  for (const number of shares?.keys() ?? [])
    if (!versions.has(number))
      problems.push({
        level: "warning",
        subject: kvKey,
        message: `${kvKey} names v${number}, but no service ${base}/v${number} is registered${host === undefined ? "" : ` for host ${host}`}: start it, or set another version.`,
      });
  const route = {
    ...(host === undefined ? {} : { host }),
    path: `/${base}`,
    stripPrefix: targets.every((each) => each.stripPrefix),
    versionsOf: base,
    choice,
    targets,
  };
  return { route, problems };
}

/** The backends that have other versions of the same service, so that their health decides which one answers. */
export const rivals = (backends: readonly Backend[]): Backend[] => [
  ...new Set(
    [...findFamilies(backends).values()].flatMap((members) =>
      members.length < 2 ? [] : members.map(({ backend }) => backend),
    ),
  ),
];

/** Groups backends into families of versions, one for each host. A service with its own path belongs to none. */
export function findFamilies(backends: readonly Backend[]): Families {
  const found = new Map<string, Member[]>();
  for (const backend of backends) {
    const known = memberships.get(backend) ?? toMembers(backend);
    memberships.set(backend, known);
    for (const member of known) {
      const family = found.get(member.key);
      if (family === undefined) found.set(member.key, [member]);
      else family.push(member);
    }
  }
  return found;
}

function toMembers(backend: Backend): readonly Member[] {
  const version = parseVersion(backend.service);
  const { path, kind } = backend.options;
  if (version === undefined || kind !== "http" || path !== undefined) return [];
  const { base, number } = version;
  return hostsOf(backend.options).map((host) => ({
    key: `${host ?? "*"}/${base}/`,
    kvKey: kv.versions + base,
    host,
    base,
    number,
    backend,
  }));
}

const target = (backend: Backend, percent: number): Target => ({
  backend: backend.name,
  service: backend.service,
  share: percent,
  stripPrefix: backend.options.stripPrefix,
});

/**
 * How ready a backend is. 4: an instance takes requests, or wakes for one; 3: Consul warns about all instances that do; 2: HAProxy finds all
 * instances down that have answered before; 1: instances are registered as healthy, but none has answered yet, for example
 * while they start; 0: no instances.
 */
type Ready = 0 | 1 | 2 | 3 | 4;
type Readiness = (backend: Backend) => Ready;

const readiness =
  ({ proven, down, sleeping }: Probed): Readiness =>
  ({ name, service, servers, warning }) => {
    // One that sleeps wakes for a request, so no other version takes its place meanwhile.
    if (sleeping?.has(service) === true) return 4;
    let best: Ready = 0;
    for (const server of servers) {
      // An instance with weight 0 takes no requests, even if it is healthy.
      if (server.weight === 0) continue;
      const key = `${name}/${server.name}`;
      const answered = proven?.has(key) ?? true;
      if (answered && down?.has(key) !== true) return warning ? 3 : 4;
      if (answered) best = 2;
      else if (best === 0) best = 1;
    }
    return best;
  };

/** The readiest candidates; none if no candidate is ready at all. */
function readiest<T>(candidates: readonly T[], ready: (candidate: T) => Ready): { best: Ready; among: T[] } {
  const best = candidates.map(ready).reduce((most, each) => (each > most ? each : most), 0);
  return { best, among: best === 0 ? [] : candidates.filter((candidate) => ready(candidate) === best) };
}

const newestOf: Readonly<Record<Ready, string>> = {
  4: "newest version with healthy instances",
  3: "newest version with instances; Consul warns of all",
  2: "newest version that has answered; none does at present",
  1: "newest version with instances; none has answered yet",
  0: "newest version; none has an instance that takes requests",
};

const asleep = "newest version; it sleeps until a request comes";

function newest(
  versions: ReadonlyMap<number, Backend>,
  ready: Readiness,
): { targets: Target[]; choice: string } {
  const byNumber = [...versions].sort(([a], [b]) => b - a).map(([, backend]) => backend);
  const { best, among } = readiest(byNumber, ready);
  const chosen = among[0] ?? byNumber[0];
  if (chosen === undefined) return { targets: [], choice: "no version" };
  const sleeps = best === 4 && chosen.servers.length === 0;
  return { targets: [target(chosen, 100)], choice: sleeps ? asleep : newestOf[best] };
}

/**
 * A version without healthy instances gives its share to the other named versions, but never to a version that is not named:
 * a pin excludes all others.
 */
function shared(
  versions: ReadonlyMap<number, Backend>,
  shares: Shares,
  ready: Readiness,
  by: string,
): { targets: Target[]; choice: string } {
  const named = [...shares].sort(([a], [b]) => a - b);
  const choice = `${by}: ${named.map(([number, percent]) => `v${number}=${percent}`).join(",")}`;
  const present = named.flatMap(([number, percent]) => {
    const backend = versions.get(number);
    return backend === undefined ? [] : [{ backend, percent }];
  });
  const { among } = readiest(present, ({ backend }) => ready(backend));
  const taking = among.length > 0 ? among : present.slice(0, 1);
  const total = taking.reduce((sum, { percent }) => sum + percent, 0);
  let sum = 0;
  const upTo = (percent: number) => Math.round((percent * 100) / total);
  const targets = taking.map(({ backend, percent }) => {
    const from = upTo(sum);
    sum += percent;
    return target(backend, upTo(sum) - from);
  });
  return { targets: targets.filter((each) => each.share > 0), choice };
}
