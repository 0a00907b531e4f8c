/** The words that every room uses: what is registered, and what is routed. */
import type { Parsed } from "./grammar";
import type { Kind, Option } from "./option";
import type { options } from "./options/index";
import type { Settings } from "./settings";

export type { Kind } from "./option";

type Defined = (typeof options)[number];
type PerInstance = Extract<Defined, { readonly perInstance: true }>;
type PerService = Exclude<Defined, PerInstance>;
type Optional = Extract<PerService, { readonly default?: undefined }>;
type ValueOf<O> = O extends { parse(value: string): Parsed<infer T> } ? T : never;
type Values<O extends Option> = { readonly [Each in O as Each["name"]]: ValueOf<Each> };

/** The routing options of a service as a whole; each file in options/ defines one of them. */
export type ServiceOptions = { readonly kind: Kind } & Values<Exclude<PerService, Optional>> &
  Partial<Values<Optional>>;

/** The options that an instance is registered with. */
export type InstanceOptions = { readonly service: ServiceOptions } & Values<PerInstance>;

/** An instance as Consul has it. Nothing in it can be trusted. */
export interface Instance {
  readonly service: string;
  readonly id: string;
  readonly node: string;
  readonly address: string;
  readonly port: number;
  readonly tags: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
  readonly healthy: boolean;
  /** Consul's check warns, as it does while an instance starts: it gets requests only while no instance passes. */
  readonly warning?: boolean;
  /** Consul's index at registration, the same for every load balancer. An instance without one counts as the newest. */
  readonly createIndex?: number;
}

export interface Catalog {
  readonly instances: readonly Instance[];
  readonly kv: Readonly<Record<string, string>>;
  /** The parts of it that could not be read. */
  readonly problems?: readonly Problem[];
}

export interface Server {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  /** The ids of its registrations, by which people recognise it. */
  readonly ids: readonly string[];
}

export interface Backend {
  readonly name: string;
  readonly service: string;
  readonly options: ServiceOptions;
  /** The instances that may get requests, by name. */
  readonly servers: readonly Server[];
  /** Consul warns about every server. */
  readonly warning: boolean;
  /** The ids of critical instances, and of those that Consul warns about while others pass. */
  readonly unhealthy: readonly string[];
  /** The lowest create index among the instances that ask for its present route or port. */
  readonly since: number;
}

export interface Target {
  readonly backend: string;
  readonly service: string;
  /** Per cent of the requests. */
  readonly share: number;
  /** Whether this service sees paths without the prefix; the versions behind one route may differ. */
  readonly stripPrefix: boolean;
}

export interface Route {
  /** Undefined: any host without a route of its own for the path. */
  readonly host?: string;
  readonly path: string;
  /** Whether every target strips the prefix. */
  readonly stripPrefix: boolean;
  /** The base name of the versions that share the route; undefined for a service's own route. */
  readonly versionsOf?: string;
  /** Why it leads to its targets, where that is a choice. */
  readonly choice?: string;
  readonly targets: readonly Target[];
}

export interface TcpPort {
  readonly port: number;
  readonly backend: string;
  readonly service: string;
}

export interface Problem {
  /** `quarantined` keeps something out of routing; `warning` does not. */
  readonly level: "quarantined" | "warning";
  /** The service, KV key or node with the problem. */
  readonly subject: string;
  readonly message: string;
}

/** The KV values that choose versions, by key: the last usable value of each. */
export type Pins = ReadonlyMap<string, string>;

export interface Routing {
  readonly settings: Settings;
  readonly pins: Pins;
  readonly backends: readonly Backend[];
  readonly routes: readonly Route[];
  readonly tcp: readonly TcpPort[];
  readonly problems: readonly Problem[];
}

/** What the load balancer has learnt by probing instances: sets of servers, `backend/server`. */
export interface Probed {
  /** Servers that have answered; without it, every server counts as one. */
  readonly proven?: ReadonlySet<string>;
  /** Proven servers that do not answer at present. */
  readonly down?: ReadonlySet<string>;
}

export interface RoutingOptions extends Probed {
  /** What stays in force where a KV value is unusable. */
  readonly lastGood?: {
    readonly settings?: Settings | undefined;
    readonly pins?: Pins | undefined;
  };
  /** How many files HAProxy may open, if known: settings that need more are refused. */
  readonly maxFiles?: number;
  /** Ports that no TCP service may have, with their owners. */
  readonly reservedPorts?: ReadonlyMap<number, string>;
  /** Services that HAProxy rejects, with its message. */
  readonly refused?: ReadonlyMap<string, string>;
}
