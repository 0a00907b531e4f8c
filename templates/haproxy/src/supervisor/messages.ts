/** What the main thread, which owns HAProxy, and the renderer's thread tell each other. */
import type { Options } from "../cli/options";
import type { HaproxyControl } from "../haproxy/control";

export type HaproxyStatus = Pick<HaproxyControl, "running" | "ports">;

/** What a renderer starts with. */
export interface RendererData {
  readonly options: Options;
  /** HAProxy as an earlier renderer left it. */
  readonly haproxy: HaproxyStatus;
  /** How often the renderer has failed and been started again. */
  readonly restarts: number;
  /** If it is the HAProxy of the load balancer that this one replaces: the socket of its master process. */
  readonly predecessor: string | undefined;
}

export type AboutHaproxy = { readonly status: HaproxyStatus } & (
  | { readonly kind: "loaded"; readonly failure?: string }
  /** HAProxy has ended by itself. */
  | { readonly kind: "ended" }
  | { readonly kind: "restarted" }
);

export type ToRenderer =
  | AboutHaproxy
  /** End what is under way, and say so. */
  | { readonly kind: "stop" }
  /** Drop the instances that are retained. */
  | { readonly kind: "release" };

export const aliveMs = 5_000;

export type FromRenderer =
  | { readonly kind: "load"; readonly ports: ReadonlySet<number> }
  /** The renderer has everything that it needs, and follows Consul. */
  | { readonly kind: "serving" }
  /** Sent every `aliveMs`: the renderer's thread is not stuck. */
  | { readonly kind: "alive" }
  | { readonly kind: "stopped" };
