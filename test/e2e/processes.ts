import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Kills processes until `find` finds none, and returns the IDs of all that it found. */
export async function killAll(find: () => string[] | Promise<string[]>): Promise<string[]> {
  const killed = new Set<string>();
  for (let attemptsLeft = 200; ; attemptsLeft--) {
    const pids = await find();
    if (pids.length === 0) return [...killed];
    if (attemptsLeft === 0) throw new Error(`processes that do not end: ${pids.join(", ")}`);
    for (const pid of pids) {
      killed.add(pid);
      try {
        process.kill(Number(pid), "SIGKILL");
      } catch {
        // It has ended by itself.
      }
    }
    await sleep(50);
  }
}

/**
 * IDs of the processes in this network namespace that have a variable, such as `NAME=value`, in their environment, except
 * Docker's. Another namespace is a machine of the tests, or has tests of its own.
 */
export function processesWith(variable: string): string[] {
  const network = (pid: string): string => readlinkSync(join("/proc", pid, "ns/net"));
  const own = network("self");
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    const read = (file: string): string => readFileSync(join("/proc", pid, file), "utf8");
    try {
      // `script/up` starts the machine's Docker Engine if it is down, which is the user's from then on.
      if (/^(dockerd|docker-proxy|containerd)/.test(read("comm"))) return false;
      return network(pid) === own && read("environ").split("\0").includes(variable);
    } catch {
      return false; // It has ended, or it is another user's.
    }
  });
}
