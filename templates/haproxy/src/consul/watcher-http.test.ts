/** The watcher with the real client over HTTP: how they use their connections. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test, vi } from "vitest";
import { Consul } from "./client";
import { Watcher } from "./watcher";

/** Supports blocking queries, never closes a connection on its own and limits their number, like Consul. */
class ConsulServer {
  leader = true;
  open = 0;
  index = 10;
  readonly kv = new Map<string, string>();
  readonly critical = new Set<string>();
  private readonly changedAt = new Map<string, number>();
  private readonly waiting = new Set<() => void>();
  private readonly server: Server;

  constructor(
    readonly nodes: string[],
    mostConnections = Infinity,
  ) {
    this.server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
      this.answer(request, response);
    });
    this.server.on("connection", (socket) => {
      this.open++;
      socket.on("close", () => this.open--);
      if (this.open > mostConnections) socket.destroy();
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    return (this.server.address() as AddressInfo).port;
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  change(path: string): void {
    this.changedAt.set(path, ++this.index);
    this.wake();
  }

  wake(): void {
    for (const wake of [...this.waiting]) wake();
  }

  private answer(request: IncomingMessage, response: ServerResponse, waited = false): void {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://consul");
    const path = pathname.replace("/v1/", "");
    const index = this.changedAt.get(path) ?? 1;
    if (!this.leader) response.writeHead(500).end("No cluster leader");
    else if (waited || searchParams.get("index") !== String(index))
      response.setHeader("X-Consul-Index", index).end(JSON.stringify(this.body(path)));
    else this.block(request, response, Number.parseInt(searchParams.get("wait") ?? "", 10));
  }

  /** Answers once the result changes or the wait is over. */
  private block(request: IncomingMessage, response: ServerResponse, wait: number): void {
    const end = () => {
      clearTimeout(timer);
      this.waiting.delete(wake);
    };
    const wake = () => {
      end();
      this.answer(request, response);
    };
    const timer = setTimeout(() => {
      end();
      this.answer(request, response, true);
    }, wait * 1000);
    response.on("close", end);
    this.waiting.add(wake);
  }

  private body(path: string): unknown {
    switch (path) {
      case "catalog/nodes":
        return this.nodes.map((name) => ({ Node: name, Address: "10.0.0.1" }));
      case "health/state/critical":
        return [...this.critical].map((name) => ({ Node: name, ServiceID: "" }));
      case "health/state/warning":
        return [];
      case "kv/service/haproxy/":
        return [...this.kv].map(([Key, value]) => ({ Key, Value: Buffer.from(value).toString("base64") }));
      default:
        return { Services: [{ ID: path, Service: "a", Port: 80, Tags: ["rest"] }] };
    }
  }
}

const open: { close(): void }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

async function watching(nodeCount: number, mostConnections?: number) {
  const nodes = Array.from({ length: nodeCount }, (_, i) => `n${i}`);
  const server = new ConsulServer(nodes, mostConnections);
  const address = { host: "127.0.0.1", port: await server.listen(), tls: false };
  const events = { changed: vi.fn(), suspect: vi.fn(), back: vi.fn() };
  const watch = new Watcher(new Consul({ addresses: [address], tls: { verify: true } }), events);
  open.push({
    close: () => {
      watch.stop();
    },
  });
  open.push(server);
  watch.start();
  await vi.waitFor(
    () => {
      expect(watch.catalog()?.instances).toHaveLength(nodeCount);
    },
    { timeout: 5_000 },
  );
  return { server, watch, events };
}

test("a period without a leader does not use up Consul's connections", async () => {
  const limit = 60;
  const { server, watch, events } = await watching(20, limit);
  server.leader = false;
  server.wake();
  let most = 0;
  const counting = setInterval(() => (most = Math.max(most, server.open)), 10);
  await sleep(2_000);
  clearInterval(counting);
  expect(watch.connected).toBe(false);
  expect(most).toBeLessThan(limit);
  server.leader = true;
  await vi.waitFor(
    () => {
      expect(watch.connected).toBe(true);
    },
    { timeout: 10_000 },
  );
  expect(events.back).toHaveBeenCalledTimes(1);
}, 20_000);

test("KV values, checks and new nodes arrive at once even while the nodes' queries take turns", async () => {
  const { server, watch } = await watching(200);
  const soon = (what: () => unknown) => vi.waitFor(what, { timeout: 1_000 });
  // All connections for nodes are in use, and the next turn comes in seconds.
  await sleep(500);
  for (const value of ["v1", "v2", "v3"]) {
    server.kv.set("service/haproxy/versions/a", value);
    server.change("kv/service/haproxy/");
    await soon(() => {
      expect(watch.catalog()?.kv["service/haproxy/versions/a"]).toBe(value);
    });
    server.critical.add(`n${server.critical.size}`);
    server.change("health/state/critical");
    await soon(() => {
      expect(watch.catalog()?.instances.filter(({ healthy }) => !healthy)).toHaveLength(server.critical.size);
    });
    server.nodes.push(`new-${value}`);
    server.change("catalog/nodes");
    await soon(() => {
      expect(watch.catalog()?.instances).toHaveLength(server.nodes.length);
    });
  }
}, 20_000);
