/**
 * The definition of a routing option. Each file in options/ defines one: how it is parsed, where it applies, its row in
 * docs/routing.md, and how it is rendered for HAProxy. Everything else is derived from the list of these definitions.
 */
import type { Parsed } from "./grammar";

export type Kind = "http" | "tcp";

/** A value as its owner writes it. */
export type OptionValue = string | number | boolean;

/** The values of all options of a service, by the options' names. */
export type OptionValues = Readonly<Record<string, unknown>>;

/** What the words of a server can use. */
export interface ServerContext {
  /** The server's name. */
  readonly name: string;
  /** The name in DNS that stands for its address, if there is one. */
  readonly hostname?: string | undefined;
  /** The service's other options. */
  readonly service: OptionValues;
}

/** What the lines of a backend profile can use. */
export interface ProfileContext {
  /** The expression for this backend's entry in a map; `otherwise` is the result when there is no entry. */
  readonly lookUp: (map: string, method: "map_str" | "map_str_int", otherwise?: string) => string;
  /** The condition that the client is neither a node of the stack nor a container on one. */
  readonly outside: string;
  /** The expression for the prefix that was stripped from the request's path. */
  readonly prefix: string;
}

/**
 * @typeParam K the key
 * @typeParam N the property of `ServiceOptions`
 * @typeParam T the parsed value
 * @typeParam D the default, or undefined
 * @typeParam M the file name of the map
 */
export interface Option<
  K extends string = string,
  N extends string = string,
  T = unknown,
  D = unknown,
  M extends string = string,
> {
  /** The key in Consul's meta and in a service's `meta`; `SERVICE_<KEY>` as a label or variable. */
  readonly key: K;
  /** The property of `ServiceOptions` that holds its value. */
  readonly name: N;
  /** The services it applies to. */
  readonly for: Kind | "all";
  /** Whether instances of one service may have different values. By default, the service as a whole has one value. */
  readonly perInstance?: true;
  parse(value: string): Parsed<T>;
  readonly default?: D;
  /** Formats the value as its owner writes it. Not needed if the parsed value is the same. */
  write?(value: T): OptionValue;
  /**
   * Why the value is invalid for this kind of service, or beside its other options, as the rest of a sentence that starts with
   * the service.
   */
  check?(value: T | undefined, kind: Kind, service: OptionValues): string | undefined;
  /** Its row in docs/routing.md. */
  readonly reference: { readonly default?: string; readonly meaning: string };
  /** Valid values, for tests. */
  readonly examples: readonly string[];
  /** `claim`: part of the URL or port that the service asks for; `handling`: what happens to requests for it. */
  readonly route?: "claim" | "handling";
  /** HTTP: a map with the values of all backends, by name. It changes while HAProxy runs. */
  readonly map?: {
    readonly file: M;
    /** The value in the map. By default, the parsed value as text. */
    write?(value: T): string;
  };
  /**
   * HTTP: lines of the backend profiles, one set for each variant. The variant's name becomes part of the profile's name,
   * except for the variant "". There is a profile for each combination of variants. If a service's variant changes, HAProxy
   * must reload.
   */
  readonly profile?: {
    /** The variant for a value; "" without this. */
    variantOf?(value: T | undefined): string;
    readonly variants: Readonly<Record<string, (context: ProfileContext) => readonly string[]>>;
  };
  /** Words of each server. A change takes a reload. */
  serverWords?(value: T, server: ServerContext): string | undefined;
  /** Lines of the backend itself. An HTTP backend with such lines cannot come from the pool, so a new one takes a reload. */
  backendLines?(value: T, kind: Kind): readonly string[];
}

/** The value of another option of the service. */
export const valueIn = <N extends string, T, D>(
  service: OptionValues,
  { name }: Option<string, N, T, D, never> | Option<string, N, T, D>,
): T | undefined => service[name] as T | undefined;

/** Defines an option of a service as a whole; see {@link Option}. */
export const option = <
  K extends string,
  N extends string,
  T,
  D extends T | undefined = undefined,
  M extends string = never,
>(
  definition: Option<K, N, T, D, M>,
): Option<K, N, T, D, M> => definition;

/** Defines an option whose value may differ between the instances of a service. */
export const instanceOption = <K extends string, N extends string, T, D extends T>(
  definition: Option<K, N, T, D, never>,
): Option<K, N, T, D, never> & { readonly perInstance: true } => ({ ...definition, perInstance: true });
