/**
 * The differences between two routings: what a change does to URLs. The load balancer's `diff` compares two snapshots of
 * Consul, a preview compares the deployed with the configured stack. Pure; diff-format.ts formats the differences.
 */
import { compare } from "../lib/text";
import { buildRouting, routeKey, routeUrl } from "./build";
import type { OptionValue } from "./option";
import { writeOptions } from "./service-options";
import { settingEntries, type Settings } from "./settings";
import type { Backend, Problem, Route, Routing, ServiceOptions } from "./types";

/** The targets of a URL and the reason for them. */
export interface RouteSide {
  readonly targets: readonly { readonly service: string; readonly share: number }[];
  /** Why these targets were chosen, if there was a choice. */
  readonly choice?: string;
  readonly stripPrefix: boolean;
}

/**
 * `moves`: other services answer, such as the next version; `shares`: the same services with other shares; `changes`: the same
 * services and shares, but the prefix is handled differently or the reason is another.
 */
export type RouteDifference = { readonly kind: "route"; readonly url: string } & (
  | { readonly change: "appears"; readonly after: RouteSide }
  | { readonly change: "goes"; readonly before: RouteSide }
  | { readonly change: "moves" | "shares" | "changes"; readonly before: RouteSide; readonly after: RouteSide }
);

export interface PortDifference {
  readonly kind: "port";
  readonly port: number;
  readonly change: "appears" | "goes" | "moves";
  /** The service before; undefined if the port appears. */
  readonly before?: string;
  /** The service after; undefined if the port goes. */
  readonly after?: string;
}

export interface InstanceCounts {
  /** Instances that may get requests. */
  readonly serving: number;
  /** Instances that are critical, or that Consul warns about while others pass. */
  readonly notPassing: number;
}

export interface InstancesDifference {
  readonly kind: "instances";
  readonly service: string;
  readonly before: InstanceCounts;
  readonly after: InstanceCounts;
  /** Servers that come, go and change their weight. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly reweighted: readonly {
    readonly server: string;
    readonly before: number;
    readonly after: number;
  }[];
}

/** An option of a service that exists before and after, with key and value as its owner writes them; `type` is its kind. */
export interface OptionDifference {
  readonly kind: "option";
  readonly service: string;
  readonly option: string;
  /** Undefined if not set. */
  readonly before?: OptionValue;
  readonly after?: OptionValue;
}

export interface SettingDifference {
  readonly kind: "setting";
  /** The KV key without the common prefix: `maxconn`, `timeouts/server`. */
  readonly setting: string;
  readonly before: number;
  readonly after: number;
}

export interface ProblemDifference extends Problem {
  readonly kind: "problem";
  readonly change: "appears" | "goes";
}

export type Difference =
  | RouteDifference
  | PortDifference
  | InstancesDifference
  | OptionDifference
  | SettingDifference
  | ProblemDifference;

/** A routing without services, to compare a first deployment with. */
export const emptyRouting: Routing = buildRouting({ instances: [], kv: {} });

/** The differences in the order of interest to a reviewer: URLs, ports, instances, options, settings, problems; each sorted. */
export function compareRoutings(before: Routing, after: Routing): Difference[] {
  return [
    ...routeDifferences(before, after),
    ...portDifferences(before, after),
    ...serviceDifferences(before, after),
    ...settingDifferences(before.settings, after.settings),
    ...problemDifferences(before, after),
  ];
}

const side = ({ targets, choice, stripPrefix }: Route): RouteSide => ({
  targets: targets.map(({ service, share }) => ({ service, share })),
  ...(choice === undefined ? {} : { choice }),
  stripPrefix,
});

/** The sorted keys of both sides, with the value on each side. */
function pairs<K extends string | number, V>(
  before: readonly V[],
  after: readonly V[],
  key: (value: V) => K,
): { key: K; old: V | undefined; now: V | undefined }[] {
  const had = new Map(before.map((value) => [key(value), value]));
  const has = new Map(after.map((value) => [key(value), value]));
  return [...new Set([...had.keys(), ...has.keys()])]
    .sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
    .map((each) => ({ key: each, old: had.get(each), now: has.get(each) }));
}

function routeDifferences(before: Routing, after: Routing): RouteDifference[] {
  return pairs(before.routes, after.routes, routeKey).flatMap(({ old, now }): RouteDifference[] => {
    if (old === undefined)
      return now === undefined
        ? []
        : [{ kind: "route", change: "appears", url: routeUrl(now), after: side(now) }];
    const url = routeUrl(old);
    if (now === undefined) return [{ kind: "route", change: "goes", url, before: side(old) }];
    const change = routeChange(side(old), side(now));
    return change === undefined ? [] : [{ kind: "route", change, url, before: side(old), after: side(now) }];
  });
}

function routeChange(before: RouteSide, after: RouteSide): "moves" | "shares" | "changes" | undefined {
  const services = ({ targets }: RouteSide) => targets.map(({ service }) => service).sort(compare);
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  if (!same(services(before), services(after))) return "moves";
  const shares = ({ targets }: RouteSide) =>
    targets.map(({ service, share }) => `${service} ${share}`).sort(compare);
  if (!same(shares(before), shares(after))) return "shares";
  return before.stripPrefix === after.stripPrefix && before.choice === after.choice ? undefined : "changes";
}

function portDifferences(before: Routing, after: Routing): PortDifference[] {
  return pairs(before.tcp, after.tcp, ({ port }) => port).flatMap(
    ({ key: port, old, now }): PortDifference[] => {
      const services = {
        ...(old === undefined ? {} : { before: old.service }),
        ...(now === undefined ? {} : { after: now.service }),
      };
      if (old === undefined) return [{ kind: "port", port, change: "appears", ...services }];
      if (now === undefined) return [{ kind: "port", port, change: "goes", ...services }];
      return old.service === now.service ? [] : [{ kind: "port", port, change: "moves", ...services }];
    },
  );
}

function serviceDifferences(before: Routing, after: Routing): (InstancesDifference | OptionDifference)[] {
  const services = pairs(before.backends, after.backends, ({ service }) => service);
  return [
    ...services.flatMap(({ key, old, now }) => instancesDifference(key, old, now)),
    ...services.flatMap(({ key, old, now }) =>
      old === undefined || now === undefined ? [] : optionDifferences(key, old.options, now.options),
    ),
  ];
}

function instancesDifference(
  service: string,
  old: Backend | undefined,
  now: Backend | undefined,
): InstancesDifference[] {
  const counts = (backend: Backend | undefined): InstanceCounts => ({
    serving: backend?.servers.length ?? 0,
    notPassing: backend?.unhealthy.length ?? 0,
  });
  const servers = pairs(old?.servers ?? [], now?.servers ?? [], ({ name }) => name);
  const difference: InstancesDifference = {
    kind: "instances",
    service,
    before: counts(old),
    after: counts(now),
    added: servers.filter((each) => each.old === undefined).map(({ key }) => key),
    removed: servers.filter((each) => each.now === undefined).map(({ key }) => key),
    reweighted: servers.flatMap((each) =>
      each.old === undefined || each.now === undefined || each.old.weight === each.now.weight
        ? []
        : [{ server: each.key, before: each.old.weight, after: each.now.weight }],
    ),
  };
  const { added, removed, reweighted } = difference;
  const same =
    added.length + removed.length + reweighted.length === 0 &&
    difference.before.notPassing === difference.after.notPassing;
  return same ? [] : [difference];
}

/** The options that no route or port shows. */
export function optionDifferences(
  service: string,
  before: ServiceOptions,
  after: ServiceOptions,
): OptionDifference[] {
  const entries = (options: ServiceOptions) => [["type", options.kind] as const, ...writeOptions(options)];
  return pairs(entries(before), entries(after), ([key]) => key)
    .filter(({ old, now }) => old?.[1] !== now?.[1])
    .map(({ key: option, old, now }) => ({
      kind: "option",
      service,
      option,
      ...(old === undefined ? {} : { before: old[1] }),
      ...(now === undefined ? {} : { after: now[1] }),
    }));
}

function settingDifferences(before: Settings, after: Settings): SettingDifference[] {
  const was = new Map(settingEntries(before));
  return settingEntries(after).flatMap(([setting, value]) => {
    const old = was.get(setting);
    return old === undefined || old === value
      ? []
      : [{ kind: "setting", setting, before: old, after: value }];
  });
}

function problemDifferences(before: Routing, after: Routing): ProblemDifference[] {
  const missing = (from: Routing, to: Routing) => {
    const known = new Set(to.problems.map(({ message }) => message));
    return from.problems.filter(({ message }) => !known.has(message));
  };
  return [
    ...missing(after, before).map((problem) => ({
      kind: "problem" as const,
      change: "appears" as const,
      ...problem,
    })),
    ...missing(before, after).map((problem) => ({
      kind: "problem" as const,
      change: "goes" as const,
      ...problem,
    })),
  ];
}
