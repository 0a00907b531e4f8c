/** What the running worker has, and the changes that it takes while it runs. */
import type { MapName, Maps, Part } from "../config/types";

export interface ActualServer {
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
  readonly maps: Maps;
}

export type Operation =
  | {
      readonly kind: "add";
      readonly backend: string;
      readonly server: string;
      readonly weight: number;
      readonly definition: string;
      readonly pace: string;
    }
  | { readonly kind: "return"; readonly backend: string; readonly server: string; readonly weight: number }
  | { readonly kind: "weight"; readonly backend: string; readonly server: string; readonly weight: number }
  | {
      readonly kind: "map";
      readonly change: "add" | "set";
      readonly map: MapName;
      readonly key: string;
      readonly value: string;
    }
  | { readonly kind: "unmap"; readonly map: MapName; readonly key: string }
  | { readonly kind: "leave"; readonly backend: string; readonly server: string };

/** A certificate to put into the worker, replace or remove. */
export interface CertificateChange {
  readonly kind: "new" | "replace" | "remove";
  /** The path of our copy. */
  readonly file: string;
  readonly pem: string;
}
