import { once } from "node:events";
import * as http from "node:http";
import { connect, createServer, type Server } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import { Balancer, ConsulAlone, Instance } from "./balancer";
import { docker } from "./docker";
import { get, startLoad, until } from "./http";
import { afterwards, tearDown } from "./tear-down";
import { WebSocketClient, WebSocketService } from "./websocket";

// Changes that need a reload, and changes during one: open connections stay open, and removed instances do not return.

const port = 26_060;
let consul: ConsulAlone;
let balancer: Balancer;
let odd = 0;
const things: { stop(): void }[] = [];

const keep = <T extends { stop(): void }>(thing: T): T => {
  things.push(thing);
  return thing;
};
const serve = async (name: string, more: Readonly<Record<string, unknown>> = {}) => {
  const instance = keep(await Instance.start(name));
  await consul.register(name, instance.port, more);
  return instance;
};
const answers = (name: string) => until(`${balancer.url}/${name}`, ({ status }) => status === 200);

/** Adds a service with options that a running HAProxy cannot take on. */
async function reload(): Promise<void> {
  const name = `odd-${odd++}`;
  const before = await balancer.reloads();
  await serve(name, { Meta: { balance: "leastconn" } });
  expect((await answers(name)).status).toBe(200);
  expect(await balancer.reloads()).toBe(before + 1);
}

interface Routes {
  readonly quarantined: readonly { readonly subject: string; readonly message: string }[];
}

/** Waits until several requests in a row get the same answer. */
async function only(path: string, body: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const found = [
      await get(balancer.url + path),
      await get(balancer.url + path),
      await get(balancer.url + path),
    ];
    if (found.every((answer) => answer.body === body)) return;
    await sleep(20);
  }
  throw new Error(`${path} is still not answered by ${body} alone`);
}

/** Sends a command to the worker, bypassing the controller. */
const worker = (command: string) =>
  docker(
    ...["exec", balancer.container, "node", "-e"],
    `const run = "/var/lib/switchyard/run/"; const [dir] = require("fs").readdirSync(run, { withFileTypes: true }).filter((each) => each.isDirectory()); const c = require("net").connect(run + dir.name + "/worker.sock"); c.pipe(process.stdout); c.write(${JSON.stringify(`${command}\n`)})`,
  );

beforeAll(async () => {
  consul = await ConsulAlone.start({ name: "tr-t-reload", port: 26_070 });
  balancer = await Balancer.start({ name: "tr-t-reload", port, consul: consul.address });
  await serve("plain");
  await answers("plain");
});
afterAll(async () => {
  for (const thing of things) thing.stop();
  await tearDown();
});
// Reloads in quick succession are merged; give each test its own.
beforeEach(() => sleep(2_100));

test("a websocket stays open through unrelated changes", async () => {
  const first = keep(await WebSocketService.start("v1"));
  await consul.register("chat/v1", first.port);
  await answers("chat");
  const client = await WebSocketClient.open(port, "/chat");
  const stays = async (when: string) => {
    expect(await client.echo(when)).toBe(`v1: ${when}`);
  };
  await stays("at first");

  const more = keep(await WebSocketService.start("v1 too"));
  await consul.register("chat/v1", more.port);
  await until(`${balancer.url}/chat`, ({ body }) => body === "v1 too");
  await stays("with another instance");
  await consul.deregister("chat/v1", more.port);
  await only("/chat", "v1");
  await stays("after another instance");

  await serve("newcomer");
  await answers("newcomer");
  await stays("with a new service");

  const second = keep(await WebSocketService.start("v2"));
  await consul.register("chat/v2", second.port);
  expect((await until(`${balancer.url}/chat`, ({ body }) => body === "v2")).body).toBe("v2");
  await stays("after a switch of versions");

  await consul.register("chat/v1", first.port, { Meta: { weight: "1" } });
  await consul.put("kv/service/haproxy/versions/chat", "v1=50,v2=50");
  await until(`${balancer.url}/chat`, ({ body }) => body === "v1");
  await stays("with another weight, and shared with another version");

  for (const when of ["after a reload", "after another one"]) {
    await sleep(2_100);
    await reload();
    await stays(when);
  }
  await consul.deregister("chat/v1", first.port);
  expect((await until(`${balancer.url}/chat/v1`, ({ status }) => status === 404)).status).toBe(404);
  await stays("without its own service");
  client.close();
});

test("a reload does not bring back an instance that is leaving", async () => {
  const [stays, leaves] = [
    keep(await WebSocketService.start("stays")),
    keep(await WebSocketService.start("leaves")),
  ];
  await consul.register("room", leaves.port);
  await answers("room");
  const client = await WebSocketClient.open(port, "/room");
  await consul.register("room", stays.port);
  await until(`${balancer.url}/room`, ({ body }) => body === "stays");
  await consul.deregister("room", leaves.port);
  await only("/room", "stays");
  expect(await client.echo("leaving")).toBe("leaves: leaving");

  await reload();
  const bodies = await Promise.all(Array.from({ length: 20 }, () => get(`${balancer.url}/room`)));
  expect(new Set(bodies.map(({ body }) => body))).toEqual(new Set(["stays"]));
  expect(await worker("show servers state")).not.toContain(`127.0.0.1:${leaves.port} `);
  expect(await client.echo("still")).toBe("leaves: still");
  client.close();
});

test("a connection that was idle during a reload reaches no address that its service has left", async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const leaver = await Instance.start("leaver");
  await consul.register("leaver", leaver.port);
  await answers("leaver");
  const ask = () => get(`${balancer.url}/leaver`, { agent });
  expect((await ask()).body).toBe("leaver");
  await reload();
  await consul.deregister("leaver", leaver.port);
  leaver.stop();
  const successor = http
    .createServer((_, response) => response.end("successor"))
    .listen(leaver.port, "127.0.0.1");
  afterwards(() => successor.close());
  await consul.register("successor", leaver.port);
  await answers("successor");
  expect((await ask()).status).toBe(503);
  agent.destroy();
});

test("a request that waits in a replaced worker reaches no address that its service has left", async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const leaver = await Instance.start("waited-for");
  await consul.register("waited-for", leaver.port);
  await answers("waited-for");
  const ask = () => get(`${balancer.url}/waited-for`, { agent });
  expect((await ask()).body).toBe("waited-for");
  await reload();
  leaver.stop();
  // HAProxy tries again after a second.
  const waiting = ask();
  await consul.deregister("waited-for", leaver.port);
  await until(`${balancer.url}/waited-for`, ({ status }) => status === 404);
  const successor = http
    .createServer((_, response) => response.end("successor"))
    .listen(leaver.port, "127.0.0.1");
  afterwards(() => successor.close());
  const { status, body } = await waiting;
  expect(body).not.toBe("successor");
  // 503 if it came after its route was gone.
  expect([0, 503]).toContain(status);
  agent.destroy();
});

test("after a reload the new worker has the desired state, whatever the old worker had", async () => {
  await serve("late");
  await answers("late");
  const map = "/var/lib/switchyard/routes.map";
  await worker(`del map ${map} */late/; add map ${map} */rogue/ -|6|/rogue|svc:plain|plain`);
  expect((await get(`${balancer.url}/rogue`)).status).toBe(200);
  await reload();
  expect((await get(`${balancer.url}/rogue`)).status).toBe(404);
  expect((await get(`${balancer.url}/late`)).status).toBe(200);
});

test("changes that need a reload share one, and the others do not wait for it", async () => {
  const load = startLoad(`${balancer.url}/plain`, { perSecond: 200, connections: 4 });
  const before = await balancer.reloads();
  const names = Array.from({ length: 6 }, (_, index) => `many-${index}`);
  for (const name of names) {
    await serve(name, { Meta: { balance: "leastconn" } });
    await sleep(30);
  }
  const since = Date.now();
  await serve("ordinary");
  expect((await answers("ordinary")).status).toBe(200);
  expect(Date.now() - since).toBeLessThan(1_000);
  for (const name of names) expect((await answers(name)).status).toBe(200);
  expect((await balancer.reloads()) - before).toBeLessThanOrEqual(2);
  expect((await load.stop()).failures).toEqual({});
});

test("counters survive a reload, including those of a service in a pooled backend", async () => {
  const instance = await serve("counted");
  await answers("counted");
  for (let request = 0; request < 20; request++) await get(`${balancer.url}/counted`);
  const all = `frontend_http_requests_total{proxy="http"}`;
  const before = await balancer.counter(all);
  await reload();
  expect(await balancer.counter(all)).toBeGreaterThanOrEqual(before);
  for (const what of [
    `backend_http_requests_total{proxy="svc:counted"}`,
    `server_http_responses_total{proxy="svc:counted",server="127.0.0.1:${instance.port}",code="2xx"}`,
  ])
    expect(await balancer.counter(what), what).toBeGreaterThanOrEqual(20);
});

test("a service whose port is taken does not block the ports of others", async () => {
  const [bad, good] = [port + 10 - 2, port + 10 - 1];
  // Listens on IPv6 only, which our own search for a free port misses.
  const other: Server = createServer().listen({ port: bad, host: "::", ipv6Only: true });
  await once(other, "listening");
  keep({ stop: () => other.close() });
  const echo = createServer((socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
  await once(echo, "listening");
  keep({ stop: () => echo.close() });
  const at = (echo.address() as { port: number }).port;
  await consul.register("blocked", at, { Tags: ["tcp"], Meta: { tcp_port: String(bad) } });
  await consul.register("echo", at, { ID: `echo:${at}`, Tags: ["tcp"], Meta: { tcp_port: String(good) } });
  await until(`${balancer.admin}/routes`, ({ body }) => body.includes("is refused by HAProxy"));
  const { quarantined } = await balancer.routes<Routes>();
  expect(quarantined.map(({ subject }) => subject)).toEqual(["blocked"]);
  expect(quarantined[0]?.message).toContain(`tcp:${bad}`);
  let heard = "";
  for (let tries = 0; tries < 200 && heard === ""; tries++) {
    await sleep(50);
    heard = await new Promise<string>((resolve) => {
      const socket = connect(good, "127.0.0.1", () => socket.write("hello"));
      socket.on("data", (data: Buffer) => {
        resolve(data.toString());
        socket.destroy();
      });
      socket.on("error", () => {
        resolve("");
      });
      socket.on("close", () => {
        resolve("");
      });
    });
  }
  expect(heard).toBe("hello");
  expect((await get(`${balancer.url}/plain`)).status).toBe(200);
});

test("HAProxy restarts after a crash with the changes made at runtime", async () => {
  await serve("before-the-end");
  await answers("before-the-end");
  await sleep(1_000);
  await docker("exec", balancer.container, "bash", "-c", "kill -9 $(pidof haproxy)");
  expect((await answers("before-the-end")).status).toBe(200);
  expect((await answers("plain")).status).toBe(200);
});
