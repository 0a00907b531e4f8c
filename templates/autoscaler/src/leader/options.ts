import type { Consul } from "../consul/client";
import type { Log } from "../log";
import type { Rescale, Swarm } from "../swarm/types";

/** What a leader works with. */
export interface LeaderOptions {
  readonly node: string;
  readonly dry: boolean;
  readonly consul: Consul;
  readonly swarm: { swarm(): Promise<Swarm>; rescale(id: string, change: Rescale): Promise<void> };
  /** Whether it may still act. */
  readonly isLeading: () => boolean;
  readonly log: Log;
  /** A clock that never goes back. */
  readonly nowMs: () => number;
}
