import { existsSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";

import { HttpClient } from "../../lib/http";
import { run } from "./stack";
import { afterwards } from "./tear-down";

const engine = new HttpClient({ socketPath: "/var/run/docker.sock" });

/** A figure of a container's group under cgroup v1; undefined elsewhere. */
export function cgroup(id: string, controller: "memory" | "cpuacct", file: string): string | undefined {
  const path = `/sys/fs/cgroup/${controller}/docker/${id}/${file}`;
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}

/**
 * A socket that tells of containers like the engine's. Some engines in containers cannot tell what the containers use: then
 * their groups tell it, and the kernel which have run out of memory.
 */
export async function measuredSocket(path: string): Promise<void> {
  const server = createServer((request, response) => {
    void answer(request).then(({ status, body }) => response.writeHead(status).end(body));
  });
  await new Promise<void>((resolve) => {
    server.listen({ path, readableAll: true, writableAll: true }, resolve);
  });
  afterwards(() => {
    server.closeAllConnections();
    server.close();
  });
}

async function answer(request: IncomingMessage): Promise<{ status: number; body: string }> {
  const { method = "GET", url = "" } = request;
  const sent = await text(request);
  const response = await engine.request(method, url, sent === "" ? {} : { body: JSON.parse(sent) as object });
  // Of a container that has just gone, there is nothing to tell.
  if (method !== "GET" || response.status !== 200) return response;
  return { ...response, body: await measured(url, response.body) };
}

/** The engine's answer, with what it cannot tell. */
async function measured(url: string, body: string): Promise<string> {
  const ended = /^\/containers\/([0-9a-f]{64})\/json/.exec(url)?.[1];
  if (ended !== undefined) {
    const container = JSON.parse(body) as { State: { OOMKilled: boolean } };
    container.State.OOMKilled ||= (await run("dmesg", [])).output.includes(`oom_memcg=/docker/${ended},`);
    return JSON.stringify(container);
  }
  const id = /^\/containers\/([0-9a-f]{64})\/stats/.exec(url)?.[1];
  const used = id === undefined ? undefined : cgroup(id, "cpuacct", "cpuacct.usage");
  if (id === undefined || used === undefined) return body;
  const [, cache] = /^total_inactive_file (\d+)$/m.exec(cgroup(id, "memory", "memory.stat") ?? "") ?? [];
  return JSON.stringify({
    read: new Date().toISOString(),
    cpu_stats: { cpu_usage: { total_usage: Number(used) } },
    memory_stats: {
      usage: Number(cgroup(id, "memory", "memory.usage_in_bytes")),
      stats: { total_inactive_file: Number(cache ?? 0) },
    },
  });
}
