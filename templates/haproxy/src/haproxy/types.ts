/** What the running worker has, and the changes that it takes while it runs. */
import type { AnyMaps, MapName, MapValue, Origin, Part } from "../config/types";

export interface ActualServer {
  readonly origin: Origin;
  readonly weight: number;
  /** It takes no new requests and is deleted once its last connection ends. */
  readonly leaving: boolean;
  /** Undefined for a server that somebody else added. */
  readonly definition: string | undefined;
}

export interface ActualBackend {
  readonly head: string;
  readonly servers: ReadonlyMap<string, ActualServer>;
}

export interface Actual {
  readonly parts: readonly Part[];
  readonly backends: ReadonlyMap<string, ActualBackend>;
  readonly maps: AnyMaps;
}

interface OfServer {
  /** HAProxy's names. */
  readonly backend: string;
  readonly server: string;
  readonly origin: Origin;
}

export type ServerOperation = OfServer &
  (
    | { readonly kind: "add"; readonly weight: number; readonly definition: string; readonly pace: string }
    /** A server that is leaving takes requests again. */
    | { readonly kind: "return"; readonly weight: number }
    | { readonly kind: "weight"; readonly weight: number }
    | { readonly kind: "leave" }
  );

interface OfMap {
  readonly map: MapName;
  readonly key: string;
  /** In the map of an option, the service that the key stands for. */
  readonly service?: string | undefined;
}

export type MapOperation = OfMap &
  (
    | { readonly kind: "map"; readonly change: "add" | "set"; readonly value: MapValue }
    | { readonly kind: "unmap" }
  );

export type Operation = ServerOperation | MapOperation;
