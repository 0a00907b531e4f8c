import { chmodSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import { connect as connectHttp2, type ClientHttp2Session } from "node:http2";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import { parseFigures, type Figures } from "../../routing/scaling/figures";
import { scalingKeys } from "../../routing/scaling/keys";
import { encodeSleeping } from "../../routing/scaling/sleeping";
import { encodeStatus } from "../../routing/scaling/status";
import { selfSigned } from "../../templates/haproxy/src/testing";
import { Balancer, ConsulAlone, Instance } from "./balancer";
import { get, until, type Answer } from "./http";
import { scratch } from "./scratch";
import { tearDown } from "./tear-down";

// What load balancers do for an autoscaler, whose part these tests play.

let consul: ConsulAlone;
let balancer: Balancer;
let other: Balancer;
let odd = 0;

const kv = (key: string) => `http://${consul.address}/v1/kv/${key}`;
const remove = (key: string) => fetch(kv(key), { method: "DELETE" });

/** Waits for figures of a node that are as wished. */
async function figuresOf(node: string, wished: (figures: Figures) => boolean): Promise<Figures> {
  let found: Figures | undefined;
  const { body } = await until(`${kv(scalingKeys.figures + node)}?raw`, ({ status, body: text }) => {
    const parsed = status === 200 ? parseFigures(text) : undefined;
    if (parsed?.ok === true && wished(parsed.value)) found = parsed.value;
    return found !== undefined;
  });
  if (found === undefined) throw new Error(`the figures of ${node} are not as they should be: ${body}`);
  return found;
}

beforeAll(async () => {
  const certificates = scratch();
  const { cert, key } = selfSigned("localhost");
  writeFileSync(join(certificates.path, "localhost.pem"), cert + key);
  chmodSync(certificates.path, 0o755);
  consul = await ConsulAlone.start({ name: "tr-t-scaling", port: 26_290 });
  balancer = await Balancer.start({
    name: "tr-t-scaling",
    port: 26_280,
    consul: consul.address,
    args: ["--node=first", "--certs=/certs", "--https-port=26283"],
    docker: ["-v", `${certificates.path}:/certs:ro`],
  });
  other = await Balancer.start({
    name: "tr-t-scaling-other",
    port: 26_285,
    consul: consul.address,
    args: ["--node=other"],
  });
});
afterAll(tearDown);

/** Has both load balancers keep the routes of a service without instances. */
async function sleeps(service: string, meta: Readonly<Record<string, string>> = {}): Promise<void> {
  const record = encodeSleeping({ tags: ["rest"], meta });
  await consul.put(`kv/${scalingKeys.sleeping}${service}`, record);
  for (const { admin } of [balancer, other])
    await until(`${admin}/routes`, ({ body }) => body.includes(`"url": "/${service}"`));
}

/** The first request for it makes the load balancers ask for an instance. */
const wanted = (service: string) =>
  until(`${kv(scalingKeys.wanted + service)}?raw`, ({ status }) => status === 200);

const heldBy = async (node: string, service: string, count: number) =>
  figuresOf(node, ({ services }) => (services.get(service)?.held ?? 0) === count);

/** An instance that answers with what it was sent. */
const echo = () =>
  Instance.start("echo", (request, response) => {
    if (request.method === "HEAD") return response.end();
    return void request.pipe(response);
  });

/** Sends a body, and returns the answer. */
function send(url: string, body: string): Promise<Answer> {
  return new Promise((resolve) => {
    const failed = (error: Error) => {
      resolve({ status: 0, body: error.message, headers: {} });
    };
    const request = http.request(url, { method: "POST", agent: false }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("error", failed);
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, body: text, headers: response.headers });
      });
    });
    request.on("error", failed);
    request.end(body);
  });
}

/** Sends a body over HTTP/2. */
function sendOverHttp2(session: ClientHttp2Session, path: string, body: string): Promise<string> {
  return new Promise((resolve) => {
    const stream = session.request({ ":path": path, ":method": "POST" });
    let text = "";
    stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
    stream.on("error", (error: Error) => {
      resolve(error.message);
    });
    stream.on("end", () => {
      resolve(text);
    });
    stream.end(body);
  });
}

/** Adds a service that a running load balancer cannot take on. */
async function reload(): Promise<void> {
  const before = await balancer.reloads();
  const instance = await Instance.start("odd");
  const name = `odd-${odd++}`;
  await consul.register(name, instance.port, { Meta: { balance: "leastconn" } });
  for (const { url } of [balancer, other]) await until(`${url}/${name}`, ({ status }) => status === 200);
  expect(await balancer.reloads()).toBe(before + 1);
}

test("figures are written while there is an autoscaler, and tell what every service has to do", async () => {
  const waiting: (() => void)[] = [];
  const slow = await Instance.start("slow", (request, response) => {
    if (request.method === "HEAD") response.end();
    else waiting.push(() => response.end("slow"));
  });
  await consul.register("slow/v1", slow.port, { Meta: { maxconn: "4" } });
  const bad = await Instance.start("bad", (request, response) => {
    response.writeHead(request.method === "HEAD" ? 200 : 500).end();
  });
  await consul.register("bad", bad.port);
  await until(`${balancer.url}/bad`, ({ status }) => status === 500);
  const requests = Array.from({ length: 6 }, () => get(`${balancer.url}/slow/v1`));
  await expect.poll(() => waiting.length).toBe(4);
  await sleep(2_100);
  expect((await get(kv(`${scalingKeys.figures}first`))).status).toBe(404);

  await consul.put(`kv/${scalingKeys.lock}`, "first");
  const { services, index } = await figuresOf("first", (figures) => figures.services.has("slow/v1"));
  expect(services.get("slow/v1")).toMatchObject({ concurrent: 4, queued: 2, held: 0, rate: 0 });
  const [lock] = JSON.parse((await get(kv(scalingKeys.lock))).body) as { ModifyIndex: number }[];
  expect(index).toBe(lock?.ModifyIndex);
  for (let each = 0; each < 10; each++) await get(`${balancer.url}/bad`);
  const failing = await figuresOf("first", (figures) => (figures.services.get("bad")?.errors ?? 0) > 0);
  expect(failing.services.get("bad")?.rate).toBeGreaterThan(0);

  while (waiting.length > 0) {
    waiting.shift()?.();
    await sleep(20);
  }
  expect((await Promise.all(requests)).map(({ body }) => body)).toEqual(Array(6).fill("slow"));
  await figuresOf("first", (figures) => figures.services.size === 0);
  await remove(scalingKeys.lock);
  await remove(`${scalingKeys.figures}first`);
  await sleep(2_100);
  expect((await get(kv(`${scalingKeys.figures}first`))).status).toBe(404);
  expect(await balancer.reloads()).toBe(0);
});

test("200 requests at once wait through a reload until the service that sleeps is awake, and none is lost", async () => {
  await consul.put(`kv/${scalingKeys.lock}`, "first");
  await sleeps("sleeper/v1");
  const body = (index: number) => `${index} `.repeat(1_000);
  const session = connectHttp2("https://127.0.0.1:26283", { rejectUnauthorized: false });
  const urls = [`${balancer.url}/sleeper/v1`, `${other.url}/sleeper`];
  const bodies = Array.from({ length: 180 }, (_, index) => body(index));
  const answers = bodies.map((text, index) => send(`${urls[index % 2] ?? ""}/${index}`, text));
  const overHttp2 = Array.from({ length: 10 }, (_, index) =>
    sendOverHttp2(session, `/sleeper/v1/${index}`, body(index)),
  );
  const { body: asked } = await wanted("sleeper/v1");
  expect(["first", "other"]).toContain(asked);
  await heldBy("first", "sleeper/v1", 100);
  await heldBy("other", "sleeper/v1", 90);
  await reload();
  const late = bodies.slice(0, 10).map((text) => send(`${other.url}/sleeper/v1`, text));

  const instance = await echo();
  await consul.register("sleeper/v1", instance.port);
  expect((await Promise.all(answers)).map((answer) => answer.body)).toEqual(bodies);
  expect(await Promise.all(overHttp2)).toEqual(Array.from({ length: 10 }, (_, index) => body(index)));
  expect((await Promise.all(late)).map(({ status }) => status)).toEqual(Array(10).fill(200));
  session.close();

  await remove(`${scalingKeys.sleeping}sleeper/v1`);
  await remove(`${scalingKeys.wanted}sleeper/v1`);
  await heldBy("first", "sleeper/v1", 0);
  expect((await get(`${balancer.url}/sleeper`)).status).toBe(200);
  await consul.deregister("sleeper/v1", instance.port);
  instance.stop();
  expect((await until(`${balancer.url}/sleeper`, ({ status }) => status === 404)).status).toBe(404);
});

test("a hundred requests wait, further ones are told to try again, and clients that leave make room", async () => {
  await sleeps("crowded");
  const sockets = Array.from({ length: 100 }, () => {
    const socket = connect(Number(new URL(balancer.url).port), "127.0.0.1");
    socket.write("GET /crowded HTTP/1.1\r\nHost: localhost\r\n\r\n");
    return socket;
  });
  await heldBy("first", "crowded", 100);
  const refused = await get(`${balancer.url}/crowded`);
  expect(refused).toMatchObject({ status: 503, headers: { "retry-after": "5" } });
  for (const socket of sockets) socket.destroy();
  await heldBy("first", "crowded", 0);
  const answer = get(`${balancer.url}/crowded`);
  await heldBy("first", "crowded", 1);
  const instance = await Instance.start("crowded");
  await consul.register("crowded", instance.port);
  expect((await answer).body).toBe("crowded");
  await remove(`${scalingKeys.sleeping}crowded`);
  await remove(`${scalingKeys.wanted}crowded`);
});

test("health checks, redirects, and requests that are refused wake nobody", async () => {
  await sleeps("still", { health_path: "/health", redirect_slash: "true" });
  const ask = async (path: string, options: http.RequestOptions = {}) =>
    (await get(balancer.url + path, options)).status;
  await until(`${balancer.url}/still/health`, ({ status }) => status === 200);
  expect(await ask("/still/x", { method: "HEAD" })).toBe(200);
  expect(await ask("/still?a=b")).toBe(308);
  expect(await ask("/still/x", { headers: { host: "a/b" } })).toBe(400);
  await sleep(300);
  expect((await get(kv(`${scalingKeys.wanted}still`))).status).toBe(404);
  expect(await balancer.logs()).not.toContain("Lua function");
});

test("what the autoscaler has decided is on the page and in explain", async () => {
  const service = {
    ...{ name: "still", swarmName: "still", min: 0, max: 3, replicas: 0, ready: 0, wish: 0 },
    ...{ reason: "no request for 5 min", asleep: true, waiting: 0, changes: [] },
  };
  const at = new Date().toISOString();
  const status = encodeStatus({ node: "first", dry: false, at, services: [service], nodesWanted: 0 });
  await consul.put(`kv/${scalingKeys.status}`, status);
  const page = await until(balancer.admin, ({ body }) => body.includes("no request for 5 min"));
  expect(page.body).toContain("0 of 0 to 3 instances");
  const { body } = await get(`${balancer.admin}/explain?url=/still/x`);
  expect(body).toContain("waits until still is awake");
  expect(body).toContain("autoscaler 0 to 3 instances, 0 now, 0 wanted: no request for 5 min");
});
