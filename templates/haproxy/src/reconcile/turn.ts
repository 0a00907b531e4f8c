/** What the reconciler is given, and what one of its turns results in. */
import type { Authorities } from "../config/authorities";
import type { RenderOptions } from "../config/types";
import type { HaproxyControl } from "../haproxy/control";
import type { Metrics } from "../metrics";
import type { Refused } from "./quarantine";

export interface ReconcilerOptions {
  readonly render: RenderOptions;
  /** If the HAProxy that runs is that of the load balancer before this one: the socket of its master process. */
  readonly predecessor?: string | undefined;
  readonly haproxy: HaproxyControl;
  /** How HTTPS is offered at the moment. */
  readonly https: () => RenderOptions["https"];
  /** The authorities that may have signed the certificates of instances. */
  readonly authorities: () => Authorities;
  readonly log: (message: string) => void;
  readonly metrics: Metrics;
  /** A new instance of a version of a service takes requests. */
  readonly onProven: () => void;
  /** A worker is about to be replaced. What has changed since the turn began has to depart. */
  readonly onReplacing: () => void;
  /** A reload that had to wait is allowed now. */
  readonly onReloadable: () => void;
}

export interface Done {
  readonly how: "start" | "operations" | "reload";
  readonly what: string;
}

/** The result of one turn. */
export interface Turn {
  /** Undefined if there was nothing to do. */
  readonly done?: Done | undefined;
  /** Why the rest waits for a reload. */
  readonly pending: readonly string[];
  /** Why that reload has failed, if it has. */
  readonly failure?: string | undefined;
  /** Services that HAProxy will not load: nothing has changed, and the next turn has to go without them. */
  readonly refused?: Refused;
  /** Whether something is left that the next turn can do. */
  readonly again: boolean;
}
