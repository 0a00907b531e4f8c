import { afterAll, beforeAll, expect, test } from "vitest";

import { Balancer, ConsulAlone, Instance } from "./balancer";
import { get, startLoad, until } from "./http";
import { WebSocketClient, WebSocketService } from "./websocket";

// HAProxy 3.4 or later, which makes and removes backends while it runs. Only run where HAPROXY34 is the path of one.

const binary = process.env["HAPROXY34"] ?? "";
const port = 26_210;
let consul: ConsulAlone;
let balancer: Balancer;
const things: { stop(): void }[] = [];

const keep = <T extends { stop(): void }>(thing: T): T => {
  things.push(thing);
  return thing;
};
const serve = async (name: string, meta: Readonly<Record<string, string>> = {}) => {
  const instance = keep(await Instance.start(name));
  await consul.register(name, instance.port, { Meta: meta });
  return instance;
};
const answers = async (name: string) =>
  (await until(`${balancer.url}/${name}`, ({ status }) => status === 200)).body;

const reloads = async (): Promise<string[]> =>
  (await get(`${balancer.admin}/metrics`)).body
    .split("\n")
    .filter((line) => /^switchyard_reloads_total.* [1-9]\d*$/.test(line));

/** The backends that the worker has, as its own metrics tell. */
async function backends(): Promise<string[]> {
  const { body } = await get(`${balancer.admin}/metrics`);
  const names = [...body.matchAll(/^haproxy_backend_status\{proxy="([^"]+)",state="UP"\}/gm)];
  return names.map(([, name]) => name ?? "").sort();
}

beforeAll(async () => {
  consul = await ConsulAlone.start({ name: "tr-t-native", port: 26_200 });
  balancer = await Balancer.start({
    name: "tr-t-native",
    port,
    consul: consul.address,
    // Nearly all services go at once in here, and are meant to.
    args: ["--hold-share=100"],
    docker: ["-v", `${binary}:/usr/sbin/haproxy:ro`],
  });
  await serve("first");
  expect(await answers("first")).toBe("first");
});
afterAll(async () => {
  for (const thing of things) thing.stop();
  await balancer.stop();
  await consul.stop();
});

test("the spare backends go once it is known that none are needed", async () => {
  await expect.poll(backends, { timeout: 10_000 }).toEqual(["none", "svc:first"]);
});

test.each<[string, Readonly<Record<string, string>>]>([
  ["sticky", { sticky: "true" }],
  ["hashed", { balance: "source" }],
  [
    "everything",
    { balance: "leastconn", sticky: "true", health_path: "/h", timeout_server: "5s", maxconn: "9" },
  ],
])("a new service needs no reload: %s", async (name, meta) => {
  await serve(name, meta);
  expect(await answers(name)).toBe(name);
  const { headers } = await get(`${balancer.url}/${name}`);
  expect(headers["set-cookie"]?.[0]?.startsWith("SWITCHYARD=") ?? false).toBe(meta["sticky"] === "true");
  expect(await reloads()).toEqual([]);
});

test("200 services come and go under requests: no reload, no failure, nothing left behind", async () => {
  const load = startLoad(`${balancer.url}/first`, { perSecond: 200, connections: 4 });
  const instance = keep(await Instance.start("many"));
  const before = await backends();
  const names = Array.from({ length: 200 }, (_, index) => `many-${index}`);
  // On a node without an agent, which would take away again what it has not registered itself.
  const elsewhere = { Node: "elsewhere", Address: "127.0.0.1" };
  const round = async (verb: "set" | "delete") => {
    for (let from = 0; from < names.length; from += 50) {
      const operations = names.slice(from, from + 50).map((name) => ({
        Service: {
          Verb: verb,
          Node: elsewhere.Node,
          Service: { ID: name, Service: name, Address: "127.0.0.1", Port: instance.port, Tags: ["rest"] },
        },
      }));
      await consul.put("txn", [{ Node: { Verb: "set", Node: elsewhere } }, ...operations]);
    }
  };
  await round("set");
  for (const name of names) expect(await answers(name)).toBe("many");
  expect((await backends()).length).toBe(before.length + names.length);
  await round("delete");
  await expect.poll(backends, { timeout: 20_000 }).toEqual(before);
  await serve("many-7", { balance: "random" });
  expect(await answers("many-7")).toBe("many-7");
  expect(await reloads()).toEqual([]);
  expect((await load.stop()).failures).toEqual({});
});

test("a backend with an open websocket stays until that ends; its service may come back meanwhile", async () => {
  const socket = keep(await WebSocketService.start("chat"));
  await consul.register("chat", socket.port);
  expect(await answers("chat")).toBe("chat");
  const client = await WebSocketClient.open(port, "/chat");
  await consul.deregister("chat", socket.port);
  await until(`${balancer.url}/chat`, ({ status }) => status === 404);
  await consul.register("chat", socket.port);
  expect(await answers("chat")).toBe("chat");
  await consul.deregister("chat", socket.port);
  await until(`${balancer.url}/chat`, ({ status }) => status === 404);
  expect(await client.echo("still")).toBe("chat: still");
  expect(await backends()).toContain("svc:chat");
  client.close();
  socket.stop();
  await expect.poll(backends, { timeout: 20_000 }).not.toContain("svc:chat");
  expect(await reloads()).toEqual([]);
});

test("after a reload the new worker has all of it", async () => {
  await serve("late", { balance: "uri" });
  expect(await answers("late")).toBe("late");
  await consul.put("kv/service/haproxy/maxconn", "2000");
  await expect.poll(reloads, { timeout: 10_000 }).toHaveLength(1);
  for (const name of ["first", "everything", "late"]) expect(await answers(name)).toBe(name);
  await serve("later", { balance: "leastconn" });
  expect(await answers("later")).toBe("later");
  expect(await reloads()).toHaveLength(1);
});
