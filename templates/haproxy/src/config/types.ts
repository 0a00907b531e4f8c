/** What the files of this room share: how to render, and what a rendered configuration consists of. */
import type { ServiceOptions } from "../../../../routing/options";
import type { Settings } from "../../../../routing/settings";

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
}

export interface HttpsOptions {
  readonly port: number;
  /** Whether HTTP only redirects to HTTPS. */
  readonly redirect: boolean;
}

/** A section that only a reload can change. */
export interface Part {
  readonly name: string;
  readonly text: string;
}

export interface RenderedServer {
  readonly name: string;
  readonly address: string;
  readonly port: number;
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
  readonly shape: string | undefined;
  readonly servers: readonly RenderedServer[];
}

/** Service options by backend, which change while HAProxy runs. */
export const optionMaps = ["hosts.map", "health.map", "timeouts.map"] as const;
export type OptionMap = (typeof optionMaps)[number];

export const mapNames = ["routes.map", "splits.map", ...optionMaps] as const;
export type MapName = (typeof mapNames)[number];
export type Maps = Readonly<Record<MapName, ReadonlyMap<string, string>>>;

export const eachMap = (make: (name: MapName) => ReadonlyMap<string, string>): Maps => ({
  "routes.map": make("routes.map"),
  "splits.map": make("splits.map"),
  "hosts.map": make("hosts.map"),
  "health.map": make("health.map"),
  "timeouts.map": make("timeouts.map"),
});

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
export type Places = ReadonlyMap<string, string>;
