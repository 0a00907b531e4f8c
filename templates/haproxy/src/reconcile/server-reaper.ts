/**
 * Deletes leaving servers as soon as HAProxy allows it, which is when their last connection has ended. The last servers of a
 * backend stay until its last request has ended, because then another service may get the backend.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Runtime } from "../haproxy/runtime-api";
import type { Actual, ActualServer } from "../haproxy/types";

const firstDelayMs = 100;
const longestDelayMs = 5_000;

export class ServerReaper {
  private running = false;

  /** `attempt` deletes the servers that it can and returns how many are left. */
  constructor(private readonly attempt: () => Promise<number>) {}

  /** Keeps trying until no server is left; does nothing if it is at it already. */
  start(): void {
    if (this.running) return;
    this.running = true;
    void this.run().finally(() => {
      this.running = false;
    });
  }

  private async run(): Promise<void> {
    for (let delay = firstDelayMs; ; delay = Math.min(delay * 2, longestDelayMs)) {
      await sleep(delay, undefined, { ref: false });
      if ((await this.attempt().catch(() => 0)) === 0) return;
    }
  }
}

/** One attempt: what the worker has after it, and how many servers are still in use. */
export async function reapServers(
  actual: Actual,
  runtime: Pick<Runtime, "remove" | "requests">,
): Promise<{ readonly actual: Actual; readonly left: number }> {
  let left = 0;
  const backends = new Map(actual.backends);
  for (const [name, backend] of backends) {
    let leavers = 0;
    for (const { leaving } of backend.servers.values()) if (leaving) leavers++;
    if (leavers === 0) continue;
    if (leavers === backend.servers.size && (await runtime.requests(name)) > 0) {
      left += leavers;
      continue;
    }
    let servers: Map<string, ActualServer> | undefined;
    for (const [server, { leaving }] of backend.servers) {
      if (!leaving) continue;
      if (!(await runtime.remove(name, server))) {
        left++;
        continue;
      }
      servers ??= new Map(backend.servers);
      servers.delete(server);
    }
    if (servers !== undefined) backends.set(name, { head: backend.head, servers });
  }
  return { actual: { ...actual, backends }, left };
}
