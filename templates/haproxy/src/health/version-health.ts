/**
 * Tracks which instances HAProxy finds down, for services that have several versions. Consul may have no check of them, so
 * a version whose process has died would still count as the newest with healthy instances. For other services nothing
 * depends on it.
 */
import type { Backend, Routing } from "../../../../routing/types";
import { rivals } from "../../../../routing/versions";
import type { ServerState } from "../haproxy/commands";

const pauseMs = 1_000;
/** Asking takes at most this share of the time, however many versions there are. */
const longestShare = 1 / 50;

export interface VersionHealthOptions {
  readonly routing: () => Routing | undefined;
  /** Servers (`backend/server`) that have answered since they came. */
  readonly proven: ReadonlySet<string>;
  /** The states of the servers of these backends in HAProxy. */
  readonly states: (backends: readonly string[]) => Promise<readonly ServerState[]>;
  /** `down` has changed. */
  readonly changed: () => void;
}

export class VersionHealth {
  /** Servers (`backend/server`) that have answered and do not at present. */
  down: ReadonlySet<string> = new Set();
  private seen: ReadonlySet<string> = new Set();
  /** Of the routing that `asked` was found for. */
  private backends: readonly Backend[] | undefined;
  /** The backends of services with several versions. */
  private asked: readonly string[] = [];
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: VersionHealthOptions) {}

  start(): void {
    this.next(pauseMs);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  /** If HAProxy does not answer now, `down` stays. */
  async look(): Promise<void> {
    const asked = this.versions();
    const states = asked.length === 0 ? [] : await this.options.states(asked).catch(() => []);
    if (asked.length > 0 && states.length === 0) return;
    const { down, seen } = judge(states, this.options.proven, this.seen);
    const same = down.size === this.down.size && [...down].every((server) => this.down.has(server));
    this.seen = seen;
    this.down = down;
    if (!same) this.options.changed();
  }

  private next(waitMs: number): void {
    this.timer = setTimeout(() => {
      const start = performance.now();
      void this.look().finally(() => {
        if (this.timer !== undefined)
          this.next(Math.max(pauseMs, (performance.now() - start) / longestShare));
      });
    }, waitMs);
  }

  /** Computed only when the routing has changed. */
  private versions(): readonly string[] {
    const backends = this.options.routing()?.backends;
    if (backends !== this.backends) this.asked = rivals(backends ?? []).map(({ name }) => name);
    this.backends = backends;
    return this.asked;
  }
}

/**
 * Finds the servers that are down. A server that has only just answered, and was not in `seen` the last time, gets until the
 * next time: HAProxy's own check may not have run yet.
 */
export function judge(
  states: readonly ServerState[],
  proven: ReadonlySet<string>,
  seen: ReadonlySet<string>,
): { readonly down: ReadonlySet<string>; readonly seen: ReadonlySet<string> } {
  const there = states
    .filter(({ maintenance }) => !maintenance)
    .map(({ backend, server, up }) => ({ server: `${backend}/${server}`, up }))
    .filter(({ server }) => proven.has(server));
  const down = there.filter(({ server, up }) => !up && seen.has(server));
  return {
    down: new Set(down.map(({ server }) => server)),
    seen: new Set(there.map(({ server }) => server)),
  };
}
