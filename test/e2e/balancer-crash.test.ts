import { connect, createServer } from "node:net";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import { Balancer, ConsulAlone, Instance } from "./balancer";
import { makeCertificate } from "./certificates";
import { docker } from "./docker";
import { get, secureStatus, startLoad, until } from "./http";
import { crashRenderer, hangRenderer, rendererFaults } from "./renderer-faults";
import { scratch } from "./scratch";
import { tearDown } from "./tear-down";
import { WebSocketClient, WebSocketService } from "./websocket";

// The renderer fails with an exception that nobody catches, or is stuck. HAProxy must go on, and a new renderer must take over. An
// HAProxy that is frozen must be replaced.

const port = 26_040;
const tcpPort = 26_045;
const httpsPort = 26_046;
const faults = scratch();

let consul: ConsulAlone;
let balancer: Balancer;
const things: { stop(): void }[] = [];

const keep = <T extends { stop(): void }>(thing: T): T => {
  things.push(thing);
  return thing;
};
const serve = async (service: string, body = service, meta: Readonly<Record<string, string>> = {}) => {
  const instance = keep(await Instance.start(body));
  await consul.register(service, instance.port, { Meta: meta });
  return instance;
};
const answers = (path: string) => until(`${balancer.url}/${path}`, ({ status }) => status === 200);

const restarts = async () => {
  const { body } = await get(`${balancer.admin}/metrics`);
  return Number(/^switchyard_renderer_restarts_total (\d+)$/m.exec(body)?.[1] ?? NaN);
};

/** Has the renderer fail, and calls `meanwhile` before it may start again. */
async function fail(meanwhile: () => Promise<unknown> = () => Promise.resolve()): Promise<void> {
  const failures = async () =>
    (await balancer.logs()).split("The renderer failed: Error: a fault of the test").length;
  const before = await failures();
  const lift = crashRenderer(faults.path);
  while ((await failures()) === before);
  await meanwhile();
  lift();
  await until(`${balancer.admin}/ready`, ({ status }) => status === 200);
}

beforeAll(async () => {
  const { pem, key } = makeCertificate("crash.test");
  writeFileSync(join(faults.path, "crash.pem"), pem + key);
  chmodSync(faults.path, 0o755);
  consul = await ConsulAlone.start({ name: "tr-t-crash", port: 26_050 });
  balancer = await Balancer.start({
    name: "tr-t-crash",
    port,
    consul: consul.address,
    args: ["--certs=/faults", `--https-port=${httpsPort}`],
    env: rendererFaults(faults.path, "/faults"),
    docker: ["-v", `${faults.path}:/faults:ro`],
  });
});

afterAll(async () => {
  for (const thing of things) thing.stop();
  await tearDown();
});

const secure = (path: string) => secureStatus(httpsPort, path, "crash.test");

/** Asks a TCP service, which says its name and closes. */
const greeting = () =>
  new Promise<string>((resolve, reject) => {
    let text = "";
    connect(tcpPort, "127.0.0.1")
      .on("data", (data) => (text += String(data)))
      .on("end", () => {
        resolve(text);
      })
      .on("error", reject);
  });

test("a renderer that fails costs no request, and the next one takes over", async () => {
  await serve("plain");
  let outdated = 0;
  const v1 = await Instance.start("shop/v1", ({ method }, response) => {
    if (method === "GET") outdated++;
    response.end("shop/v1");
  });
  await consul.register("shop/v1", keep(v1).port);
  await serve("odd", "odd", { balance: "leastconn" });
  // HAProxy's checks reset their connections.
  const server = createServer((socket) => socket.on("error", () => undefined).end("db")).listen(
    0,
    "127.0.0.1",
  );
  things.push({ stop: () => server.close() });
  await new Promise((resolve) => server.once("listening", resolve));
  const { port: listening } = server.address() as { port: number };
  await consul.register("db", listening, { Tags: ["tcp"], Meta: { tcp_port: String(tcpPort) } });
  await answers("odd");
  expect(await secure("/plain")).toBe(200);
  // These two are in slots of the pool, whose other names the next renderer does not know.
  await serve("shop/v2");
  const leaving = await serve("late", "leaving");
  await serve("late", "staying");
  await until(`${balancer.url}/shop`, ({ body }) => body === "shop/v2");
  await until(`${balancer.url}/late`, ({ body }) => body === "staying");
  // Registered, but nothing listens there: it must not get traffic from the next renderer either.
  await consul.register("plain", 1);
  const chat = keep(await WebSocketService.start("chat"));
  await consul.register("chat", chat.port);
  await answers("chat");
  const client = await WebSocketClient.open(port, "/chat");

  outdated = 0;
  const started = await docker("inspect", "-f", "{{.State.StartedAt}}", balancer.container);
  const load = ["plain", "shop", "odd", "late"].map((path) =>
    startLoad(`${balancer.url}/${path}`, { perSecond: 100, connections: 4 }),
  );
  await fail(async () => {
    leaving.stop();
    await consul.deregister("late", leaving.port);
  });
  expect((await answers("plain")).status).toBe(200);
  await serve("newcomer");
  expect((await answers("newcomer")).status).toBe(200);
  const routed = async () =>
    (await balancer.routes<{ services: { name: string; instances: unknown[] }[] }>()).services.find(
      ({ name }) => name === "late",
    )?.instances.length;
  while ((await routed()) !== 1) await sleep(20);

  for (const each of load) {
    const { requests, failures } = await each.stop();
    expect(requests).toBeGreaterThan(0);
    expect(failures).toEqual({});
  }
  expect(outdated).toBe(0);
  expect(await greeting()).toBe("db");
  expect(await secure("/plain")).toBe(200);
  expect(await client.echo("still there")).toBe("chat: still there");
  client.close();
  expect(await restarts()).toBeGreaterThanOrEqual(1);
  expect(await docker("inspect", "-f", "{{.State.StartedAt}}", balancer.container)).toBe(started);
  const { quarantined, warnings } = await balancer.routes<Record<string, unknown>>();
  expect({ quarantined, warnings }).toEqual({ quarantined: [], warnings: [] });
}, 60_000);

test("HAProxy that ends while no renderer runs is started again with its routes", async () => {
  await serve("before-the-end");
  await answers("before-the-end");
  await fail(() => docker("exec", balancer.container, "bash", "-c", "kill -9 $(pidof haproxy)"));
  expect((await answers("before-the-end")).status).toBe(200);
  await serve("after-the-end");
  expect((await answers("after-the-end")).status).toBe(200);
}, 60_000);

test("a renderer that is stuck is replaced, and costs no request", async () => {
  await serve("before-it-is-stuck");
  await answers("before-it-is-stuck");
  const load = startLoad(`${balancer.url}/before-it-is-stuck`, { perSecond: 50, connections: 4 });
  const ended = async () => (await balancer.logs()).includes("The renderer is stuck. Ending it.");
  const lift = hangRenderer(faults.path);
  await serve("while-it-is-stuck");
  while (!(await ended())) await sleep(100);
  lift();
  expect((await answers("while-it-is-stuck")).status).toBe(200);
  expect((await load.stop()).failures).toEqual({});
}, 180_000);

test("a frozen HAProxy is replaced", async () => {
  await serve("before-the-frost");
  await answers("before-the-frost");
  await docker("exec", balancer.container, "bash", "-c", "kill -STOP $(pidof haproxy)");
  const answered = await until(`${balancer.url}/before-the-frost`, ({ status }) => status === 200, {
    seconds: 120,
  });
  expect(answered.status).toBe(200);
  expect(await balancer.logs()).toContain("HAProxy left 3 questions in a row unanswered. Ending it.");
}, 180_000);

test("the container stops at once while no renderer runs", async () => {
  let code = "";
  await fail(async () => {
    await docker("stop", balancer.container);
    code = await docker("inspect", "-f", "{{.State.ExitCode}}", balancer.container);
    await docker("start", balancer.container);
  });
  expect(code).toBe("0");
}, 60_000);
