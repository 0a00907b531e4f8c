/**
 * Which instances HAProxy finds down, of services that have several versions. Consul need not have a check of them, so
 * without this a version whose process has died would go on being the newest with healthy instances. Of other services
 * nothing depends on it, so nothing is asked.
 */
import type { Backend, Routing } from "../../../../routing/types";
import { rivals } from "../../../../routing/versions";
import type { ServerState } from "../haproxy/commands";

const every = 1_000;
/** Asking takes at most one part in this of the time, however many versions there are. */
const parts = 50;

export interface VersionHealthOptions {
  readonly routing: () => Routing | undefined;
  /** Servers (`backend/server`) that have answered since they came. */
  readonly proven: ReadonlySet<string>;
  /** What HAProxy says of the servers of these backends. */
  readonly states: (backends: readonly string[]) => Promise<readonly ServerState[]>;
  /** `down` is another set now. */
  readonly changed: () => void;
}

export class VersionHealth {
  /** Servers (`backend/server`) that have answered and do not at present. */
  down: ReadonlySet<string> = new Set();
  private seen: ReadonlySet<string> = new Set();
  private of: readonly Backend[] | undefined;
  private asked: readonly string[] = [];
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: VersionHealthOptions) {}

  start(): void {
    this.next(every);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  /** A worker that cannot be asked just now leaves what is known. */
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

  private next(pause: number): void {
    this.timer = setTimeout(() => {
      const start = performance.now();
      void this.look().finally(() => {
        if (this.timer !== undefined) this.next(Math.max(every, (performance.now() - start) * parts));
      });
    }, pause);
  }

  /** Looked for only when the routing is another. */
  private versions(): readonly string[] {
    const backends = this.options.routing()?.backends;
    if (backends !== this.of) this.asked = rivals(backends ?? []).map(({ name }) => name);
    this.of = backends;
    return this.asked;
  }
}

/**
 * One that has only just answered, and was not `seen` the last time, is given until the next: HAProxy's own check, by which
 * it is up, may be still to come.
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
