/** What the files of this room share: how to render, and what a rendered configuration consists of. */
import type { Option } from "../../../../routing/option";
import { options } from "../../../../routing/options/index";
import type { ServiceOptions, TcpPort } from "../../../../routing/types";
import type { Settings } from "../../../../routing/settings";
import type { Authorities } from "./authorities";

export interface RenderOptions {
  readonly httpPort: number;
  /** Without it there is no statistics page. */
  readonly statsPort?: number;
  readonly threads: number;
  /** The folder of the maps, error pages and server states. */
  readonly dir: string;
  /** The folder of HAProxy's sockets. */
  readonly runDir: string;
  /** Whether to listen on IPv6 as well. */
  readonly ipv6: boolean;
  /** Without it there is no TLS. */
  readonly https?: HttpsOptions;
  /** The peers, as addresses or networks, whose X-Forwarded-* and X-Request-ID headers are believed. */
  readonly trusted?: readonly string[];
  /** Whether these peers begin each connection with the PROXY protocol. */
  readonly proxyProtocol?: boolean;
  /** The nodes and their containers, as addresses or networks, which alone reach internal services. Default: nobody. */
  readonly inside?: readonly string[];
  /** The authorities that HAProxy can use. */
  readonly authorities?: Authorities;
  /** Whether requests wait for services that sleep. */
  readonly holding?: boolean;
  /** Whether Consul's catalog has been in force. Default: true. */
  readonly ready?: boolean;
}

export interface HttpsOptions {
  readonly port: number;
  /** Whether HTTP only redirects to HTTPS. */
  readonly redirect: boolean;
}

/** A section that only a reload can change. */
export interface Part {
  /** For people: `TCP port 5432 of service db`. */
  readonly name: string;
  readonly text: string;
  /** Set for the frontend of a TCP service. */
  readonly tcp?: TcpPort;
}

/** A server as the routing knows it, whatever backend of the pool it lives in. */
export interface Origin {
  readonly backend: string;
  readonly server: string;
  readonly service: string;
}

export interface RenderedServer {
  readonly name: string;
  readonly origin: Origin;
  readonly address: string;
  readonly port: number;
  readonly hostname?: string | undefined;
  readonly weight: number;
  /** Everything after the name except the weight, as both `server` and `add server` take it. */
  readonly definition: string;
}

export interface RenderedBackend {
  readonly name: string;
  /** Undefined for a backend of the pool that no service has taken. */
  readonly service: string | undefined;
  /** The options that decide how the servers' health is checked. */
  readonly options: ServiceOptions | undefined;
  /** The section without its servers. */
  readonly head: string;
  /** The `defaults` section that makes up the whole head, if one does. */
  readonly profile: string | undefined;
  readonly servers: readonly RenderedServer[];
}

export type OptionMap = NonNullable<(typeof options)[number]["map"]>["file"];

type MappedOption = Option<string, string, unknown, unknown, OptionMap> & Required<Pick<Option, "map">>;

/** The routing options that HAProxy looks up in a map, by backend, so that they change while it runs. */
export const mappedOptions: readonly MappedOption[] = (options as readonly Option[]).filter(
  (option): option is MappedOption => option.map !== undefined,
);

export const optionMaps: readonly OptionMap[] = mappedOptions.map(({ map }) => map.file);

/** The key of the option that a map holds. */
export const optionOf = (file: OptionMap): string =>
  mappedOptions.find(({ map }) => map.file === file)?.key ?? file;

export type RouteMap = "routes.map" | "splits.map";
/** What is true of the load balancer as a whole has an entry: see `flags.ts`. */
export type FlagsMap = "flags.map";
export type MapName = RouteMap | FlagsMap | OptionMap;
export const mapNames: readonly MapName[] = ["routes.map", "splits.map", "flags.map", ...optionMaps];

/** Where a route leads. */
export type RouteTarget =
  | { readonly kind: "backend"; readonly backend: string }
  /** HAProxy draws a slot from 0 to 99 and follows the entry in it. */
  | {
      readonly kind: "split";
      /** The prefix of the slots' keys in `splits.map`. */
      readonly group: string;
      readonly shares: readonly { readonly service: string; readonly share: number }[];
      readonly slots: readonly RouteEntry[];
    }
  | { readonly kind: "nothing" };

/** What the frontend finds in `routes.map` under a route's key, or in `splits.map` under a slot. */
export interface RouteEntry {
  /** Whether the route stands for the versions of a service. */
  readonly ofVersions: boolean;
  /** As in its key. */
  readonly host: string;
  /** The length of the prefix that the service does not see. */
  readonly stripped: number;
  readonly path: string;
  readonly target: RouteTarget;
  readonly service: string;
  /** All of this as the map holds it. Two entries with the same text are the same to HAProxy. */
  readonly text: string;
}

/** The maps as we write them. */
export type Maps = Readonly<Record<RouteMap, ReadonlyMap<string, RouteEntry>>> &
  Readonly<Record<FlagsMap | OptionMap, ReadonlyMap<string, string>>>;

/** A value of a map. One that the worker has and we did not write is only text. */
export type MapValue = RouteEntry | string;
export type AnyMaps = Readonly<Record<MapName, ReadonlyMap<string, MapValue>>>;

/** A map for each name. */
export const eachMap = <Name extends MapName, Value>(
  names: readonly Name[],
  make: (name: Name) => ReadonlyMap<string, Value>,
): Readonly<Record<Name, ReadonlyMap<string, Value>>> =>
  Object.fromEntries(names.map((name) => [name, make(name)])) as Record<Name, ReadonlyMap<string, Value>>;

export const textOf = (value: MapValue): string => (typeof value === "string" ? value : value.text);

export interface Rendered {
  readonly settings: Settings;
  /**
   * How often health is checked, as `server` and `add server` take it. Not part of a server's definition: running servers
   * keep the pace they were added with until the next reload.
   */
  readonly pace: string;
  readonly parts: readonly Part[];
  readonly backends: readonly RenderedBackend[];
  readonly maps: Maps;
}

/** The backend of the pool that each service took over while HAProxy ran, by the backend's name in the routing. */
export type Slots = ReadonlyMap<string, string>;
