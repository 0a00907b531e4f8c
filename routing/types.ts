/** The types that the whole project shares: registered instances and routes. */
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

/** The options in an instance's registration. */
export type InstanceOptions = { readonly service: ServiceOptions } & Values<PerInstance>;

/** An instance as registered in Consul. None of its content can be trusted. */
export interface Instance {
  readonly service: string;
  readonly id: string;
  readonly node: string;
  readonly address: string;
  readonly port: number;
  readonly tags: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
  readonly healthy: boolean;
  /** Consul's check warns, for example while an instance starts. It gets requests only while no instance passes. */
  readonly warning?: boolean;
  /** Consul's weights; without them, both are 1. */
  readonly weights?: Weights;
  /** Consul's create index, the same for every load balancer. An instance without one counts as the newest. */
  readonly createIndex?: number;
}

/** The weight of an instance while Consul's checks pass, and while one warns: from 1, or from 0, to 65,535. */
export interface Weights {
  readonly passing: number;
  readonly warning: number;
}

export interface Catalog {
  readonly instances: readonly Instance[];
  readonly kv: Readonly<Record<string, string>>;
  /** The parts of the catalog that could not be read. */
  readonly problems?: readonly Problem[];
}

/** What DNS says about a name. */
export interface Resolution {
  /** In a stable order. They stay for a while when the name cannot be resolved any more. */
  readonly addresses: readonly string[];
  /** The code of the error, if the last answer was one. */
  readonly problem?: string;
}

/** Names in DNS; undefined where there has been no answer yet. */
export type Resolutions = ReadonlyMap<string, Resolution | undefined>;

export interface Server {
  readonly name: string;
  readonly address: string;
  /** The name in DNS that stands for the address, if it was registered with one. */
  readonly hostname?: string;
  readonly port: number;
  readonly weight: number;
  /** The IDs of its registrations, by which users recognise it. */
  readonly ids: readonly string[];
}

/** A registered instance that gets no requests because of its check in Consul. */
export interface Unhealthy {
  readonly id: string;
  /** The names of the servers that it would have: one for each of its addresses. */
  readonly servers: readonly string[];
  /** Registrator's checks warn while a container starts. */
  readonly check: "warning" | "critical";
}

export interface Backend {
  readonly name: string;
  readonly service: string;
  readonly options: ServiceOptions;
  /** The instances that may get requests, by name. */
  readonly servers: readonly Server[];
  /** Consul warns about every server. */
  readonly warning: boolean;
  /** Critical instances, and those that Consul warns about while others pass. */
  readonly unhealthy: readonly Unhealthy[];
  /** The lowest create index among the instances that ask for its current route or port. */
  readonly since: number;
}

export interface Target {
  readonly backend: string;
  readonly service: string;
  /** Percentage of the requests. */
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
  /** Why these targets were chosen, if there was a choice. */
  readonly choice?: string;
  readonly targets: readonly Target[];
}

export interface TcpPort {
  readonly port: number;
  readonly backend: string;
  readonly service: string;
}

export interface Problem {
  /**
   * `quarantined`: it asks for load balancing and is rejected. `unrouted`: it does not ask, but was probably meant to.
   * `warning`: it works.
   */
  readonly level: "quarantined" | "unrouted" | "warning";
  /** The service, KV key or node with the problem. */
  readonly subject: string;
  readonly message: string;
}

/** KV values in force, by key: the last usable value of each. */
export type Records = ReadonlyMap<string, string>;
/** Those that choose versions. */
export type Pins = Records;

export interface Routing {
  readonly settings: Settings;
  readonly pins: Pins;
  /** The records of sleeping services. */
  readonly records: Records;
  /** The services with such a record. Requests for one without a usable instance wait for it to wake. */
  readonly sleeping: ReadonlySet<string>;
  readonly backends: readonly Backend[];
  readonly routes: readonly Route[];
  readonly tcp: readonly TcpPort[];
  /** The names that instances have instead of addresses. */
  readonly hostnames: Resolutions;
  readonly problems: readonly Problem[];
}

/** What the load balancer has learnt by probing instances: sets of servers, named `backend/server`. */
export interface Probed {
  /** Servers that have answered. If undefined, every server counts as having answered. */
  readonly proven?: ReadonlySet<string>;
  /** Proven servers that currently do not answer. */
  readonly down?: ReadonlySet<string>;
  /** Services that wake for a request. */
  readonly sleeping?: ReadonlySet<string> | undefined;
}

export interface RoutingOptions extends Probed {
  /** The values that stay in force if a KV value is unusable. */
  readonly lastGood?: {
    readonly settings?: Settings | undefined;
    readonly pins?: Pins | undefined;
    readonly records?: Records | undefined;
  };
  /** How many files HAProxy may open, if known. Settings that need more are rejected. */
  readonly maxFiles?: number;
  /** Ports that no TCP service may use, with their owners. */
  readonly reservedPorts?: ReadonlyMap<number, string>;
  /**
   * The files of authorities at hand, with the reason why one cannot be used, if there is one. Without this, any file that a
   * service names counts as usable.
   */
  readonly authorities?: ReadonlyMap<string, string | undefined>;
  /** What DNS says about the names that instances have instead of addresses. */
  readonly hostnames?: Resolutions;
  /** Services that HAProxy rejects, with its message. */
  readonly refused?: ReadonlyMap<string, string>;
}
