import type { Consul } from "../consul/client";
import type { Log } from "../log";
import type { SwarmClient } from "../swarm/client";

/** What a leader works with. */
export interface LeaderOptions {
  readonly node: string;
  readonly dry: boolean;
  /** Whether it only starts jobs. */
  readonly jobsOnly?: boolean;
  readonly consul: Consul;
  readonly swarm: Pick<SwarmClient, "swarm" | "rescale" | "relimit" | "startRun" | "endRun">;
  /** Whether it may still act. */
  readonly isLeading: () => boolean;
  readonly log: Log;
  /** The time of day. Default: the machine's. */
  readonly wallMs?: () => number;
  /** A clock that never goes back. */
  readonly nowMs: () => number;
}
