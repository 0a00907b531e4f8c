/**
 * Reads the options of services: the `SERVICE_*` variables and labels of their containers, which become tags and meta in
 * Consul. Unknown keys are ignored, because images set them for other programs. An invalid value of a known key is an error.
 */
import { ok, refuse, show, type Parsed } from "./grammar";
import type { Kind, Option, OptionValue } from "./option";
import { options } from "./options/index";
import type { Instance, InstanceOptions, ServiceOptions } from "./types";

const all: readonly Option[] = options;
const ofService = all.filter(({ perInstance }) => perInstance !== true);

/** The meta keys of all routing options. */
export const optionKeys: readonly string[] = all.map(({ key }) => key);

/** The tags that ask for load balancing. */
export const routingTags = ["rest", "http", "tcp"] as const;

const variable = (key: string) => `SERVICE_${key.toUpperCase()}`;

/** Blanks, and the quotes that an --env-file keeps. */
const bare = (tag: string): string => tag.toLowerCase().replace(/["'\s]/g, "");

/** The routing tag that a tag is, or was probably meant to be. */
const closest = (tag: string) => routingTags.find((known) => known === bare(tag));

/** Whether the tags ask for load balancing, or were probably meant to. */
export const wantsRouting = (tags: readonly string[]): boolean =>
  tags.some((tag) => closest(tag) !== undefined);

/** Why an instance that does not ask for load balancing was probably meant to; undefined if nothing suggests it. */
export function whyUnrouted(tags: readonly string[]): string | undefined {
  if (tags.some((tag) => closest(tag) === tag))
    return tags.includes("udp")
      ? `is UDP, which HAProxy does not balance: reach it by its Consul DNS name instead, and leave ${routingTags.join(", ")} out of SERVICE_<port>_UDP_TAGS`
      : undefined;
  for (const tag of tags) {
    const meant = closest(tag);
    if (meant !== undefined)
      return `has the tag ${show(tag)}, which is not ${meant}: write ${meant} in SERVICE_TAGS`;
  }
  return undefined;
}

/** `undefined`: the instance does not ask for load balancing. */
export function parseOptions(
  tags: readonly string[],
  meta: Readonly<Record<string, string>>,
): Parsed<InstanceOptions> | undefined {
  const http = tags.includes("rest") || tags.includes("http");
  const tcp = tags.includes("tcp");
  if (tags.includes("udp") || (!http && !tcp)) return undefined;
  if (http && tcp) return refuse("has both tag tcp and tag rest or http: keep one in SERVICE_TAGS");
  const kind: Kind = http ? "http" : "tcp";

  const service: Record<string, unknown> = { kind };
  const instance: Record<string, unknown> = { service };
  for (const option of all) {
    const given = Object.hasOwn(meta, option.key) ? meta[option.key] : undefined;
    const parsed = given === undefined ? ok(option.default) : parseOption(option, given, kind);
    if (!parsed.ok) return parsed;
    if (parsed.value !== undefined)
      (option.perInstance === true ? instance : service)[option.name] = parsed.value;
  }
  for (const option of ofService) {
    const error = option.check?.(service[option.name], kind, service);
    if (error !== undefined) return refuse(error);
  }
  // Every property is parsed by the option that defines its type in InstanceOptions.
  return ok(instance as unknown as InstanceOptions);
}

function parseOption(option: Option, given: string, kind: Kind): Parsed<unknown> {
  const name = variable(option.key);
  if (option.for !== "all" && option.for !== kind)
    return refuse(
      kind === "tcp"
        ? `has tag tcp, where ${name} means nothing: remove it, or use tag http`
        : `has ${name}, which needs tag tcp: set SERVICE_TAGS=tcp, or remove it`,
    );
  const parsed = option.parse(given);
  return parsed.ok ? parsed : refuse(`has ${name}=${show(given)}, which ${parsed.error}`);
}

/** The value of an option, set or by default. */
export const valueOf = (options: Readonly<Record<string, unknown>>, { name }: Option): unknown =>
  options[name];

/** The options that have a value, set or by default, with that value. */
export const given = (service: ServiceOptions): { option: Option; value: unknown }[] =>
  ofService.flatMap((option) => {
    const value = valueOf(service, option);
    return value === undefined ? [] : [{ option, value }];
  });

/** A value as its owner writes it. */
const written = (option: Option, value: unknown): OptionValue =>
  option.write === undefined ? (value as OptionValue) : option.write(value);

/** Options by key, as their owner writes them, without those that the URL or port already shows. */
export function writeOptions(
  service: ServiceOptions,
  { defaults = true } = {},
): ReadonlyMap<string, OptionValue> {
  return new Map(
    given(service)
      .filter(({ option, value }) => option.route === undefined && (defaults || value !== option.default))
      .map(({ option, value }) => [option.key, written(option, value)]),
  );
}

/** An instance with its options. */
export interface Member {
  readonly instance: Instance;
  readonly options: InstanceOptions;
  /** The name in DNS that it is registered with instead of an address. */
  readonly hostname?: string;
}

/** The instances that can take requests: those that pass Consul's checks, else those it warns about, else all. */
function serving(members: readonly Member[]): readonly Member[] {
  const healthy = members.filter(({ instance }) => instance.healthy);
  const passing = healthy.filter(({ instance }) => instance.warning !== true);
  return [passing, healthy].find(({ length }) => length > 0) ?? members;
}

/**
 * The options of a service as a whole. Its instances may temporarily differ, as during a rolling update. The majority of the
 * serving instances decides, so that neither a single instance nor dead ones can move a service. Ties are broken
 * consistently.
 */
export function serviceOptions(members: readonly Member[]): { options: ServiceOptions; differing: number } {
  const [only, ...more] = members;
  if (only !== undefined && more.length === 0) return { options: only.options.service, differing: 0 };
  const votes = new Map<string, { options: ServiceOptions; count: number; all: number }>();
  const voters = new Set(serving(members));
  for (const member of members) {
    const { service } = member.options;
    const key = JSON.stringify(Object.entries(service).sort(([a], [b]) => (a < b ? -1 : 1)));
    const vote = votes.get(key) ?? { options: service, count: 0, all: 0 };
    vote.all++;
    if (voters.has(member)) vote.count++;
    votes.set(key, vote);
  }
  const [winner] = [...votes].sort(([a, x], [b, y]) => y.count - x.count || (a < b ? -1 : 1));
  if (winner === undefined) throw new Error("a service without instances was admitted");
  return { options: winner[1].options, differing: members.length - winner[1].all };
}

const claims = ofService.filter(({ route }) => route === "claim");

/** The lowest create index among the instances that claim what the service claims. Other instances may be older. */
export function claimedSince(members: readonly Member[], service: ServiceOptions): number {
  const since = members
    .filter(({ options }) =>
      claims.every((option) => valueOf(options.service, option) === valueOf(service, option)),
    )
    .map(({ instance }) => instance.createIndex ?? Infinity);
  return since.reduce((first, each) => Math.min(first, each), Infinity);
}
