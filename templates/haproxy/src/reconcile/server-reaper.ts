/** Deletes leaving servers as soon as HAProxy allows it, which is when their last connection has ended. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Runtime } from "../haproxy/runtime-api";
import type { Actual } from "../haproxy/types";

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

/** What the worker has after one attempt, and how many servers are still in use. */
export async function withoutLeft(
  actual: Actual,
  runtime: Pick<Runtime, "remove">,
): Promise<{ readonly actual: Actual; readonly left: number }> {
  let left = 0;
  const backends = new Map(actual.backends);
  for (const [name, backend] of backends) {
    const leaving = [...backend.servers].filter(([, server]) => server.leaving);
    if (leaving.length === 0) continue;
    const servers = new Map(backend.servers);
    for (const [server] of leaving) {
      if (await runtime.remove(name, server)) servers.delete(server);
      else left++;
    }
    backends.set(name, { head: backend.head, servers });
  }
  return { actual: { ...actual, backends }, left };
}
