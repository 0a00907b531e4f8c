import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import { parseFigures, type Figures } from "../../routing/scaling/figures";
import { scalingKeys } from "../../routing/scaling/keys";
import { Balancer, ConsulAlone, Instance } from "./balancer";
import { get, until } from "./http";
import { tearDown } from "./tear-down";

// What load balancers do for an autoscaler, whose part these tests play.

let consul: ConsulAlone;
let balancer: Balancer;

const kv = (key: string) => `http://${consul.address}/v1/kv/${key}`;
const remove = (key: string) => fetch(kv(key), { method: "DELETE" });

/** Waits for figures of a node that are as wished. */
async function figuresOf(node: string, wished: (figures: Figures) => boolean): Promise<Figures> {
  const read = (text: string) => {
    const parsed = parseFigures(text);
    return parsed.ok ? parsed.value : undefined;
  };
  const { body } = await until(`${kv(scalingKeys.figures + node)}?raw`, ({ status, body: text }) => {
    const figures = status === 200 ? read(text) : undefined;
    return figures !== undefined && wished(figures);
  });
  const figures = read(body);
  if (figures === undefined) throw new Error(`these are no figures: ${body}`);
  return figures;
}

beforeAll(async () => {
  consul = await ConsulAlone.start({ name: "tr-t-scaling", port: 26_290 });
  balancer = await Balancer.start({
    name: "tr-t-scaling",
    port: 26_280,
    consul: consul.address,
    args: ["--node=first"],
  });
});
afterAll(tearDown);

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
