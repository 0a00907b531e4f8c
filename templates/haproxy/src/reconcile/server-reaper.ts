/**
 * Deletes leaving servers, and backends that are not wanted any more, as soon as HAProxy lets them go, which is when their
 * last connection has ended.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Actual } from "./planner";
import type { Runtime } from "../haproxy/runtime-api";

const firstReap = 100;
const longestReap = 5_000;

export class Reaper {
  private reaping = false;

  /** `once` deletes what it can and says how many are left. */
  constructor(private readonly once: () => Promise<number>) {}

  reap(): void {
    if (this.reaping) return;
    this.reaping = true;
    void this.all().finally(() => {
      this.reaping = false;
    });
  }

  private async all(): Promise<void> {
    for (let delay = firstReap; ; delay = Math.min(delay * 2, longestReap)) {
      await sleep(delay, undefined, { ref: false });
      if ((await this.once().catch(() => 0)) === 0) return;
    }
  }
}

/** What the worker has after that, and how many servers and backends are still in use. */
export async function withoutLeft(
  actual: Actual,
  runtime: Pick<Runtime, "remove" | "removeBackend">,
  isWanted: (backend: string) => boolean,
): Promise<{ readonly actual: Actual; readonly left: number }> {
  let left = 0;
  const backends = new Map(actual.backends);
  for (const [name, backend] of backends) {
    const leaving = [...backend.servers].filter(([, server]) => server.leaving);
    if (leaving.length > 0) {
      const servers = new Map(backend.servers);
      for (const [server] of leaving) {
        if (await runtime.remove(name, server)) servers.delete(server);
        else left++;
      }
      backends.set(name, { head: backend.head, servers });
    }
    if (isWanted(name) || backends.get(name)?.servers.size !== 0) continue;
    if (await runtime.removeBackend(name)) backends.delete(name);
    else left++;
  }
  return { actual: { ...actual, backends }, left };
}
