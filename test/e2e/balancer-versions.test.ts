import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { Balancer, ConsulAlone, Instance } from "./balancer";
import { get, until } from "./http";
import { tearDown } from "./tear-down";

// How KV, weights and health decide which version answers at a service's name, and which instance of a service.

const port = 26_080;
const versions = "kv/service/haproxy/versions";
let consul: ConsulAlone;
let balancer: Balancer;
let families = 0;
/** Each test has its own family of versions. */
let family: string;

async function serve(name: string, meta: Readonly<Record<string, string>> = {}, says = name) {
  const instance = await Instance.start(says, (request, response) => {
    response.end(`${says} ${request.url ?? ""}`);
  });
  await consul.register(name, instance.port, { Meta: meta });
  return instance;
}

const ask = async (path: string, headers: Record<string, string> = {}) =>
  get(balancer.url + path, { headers });
const answers = (path: string, body: string) => until(balancer.url + path, (answer) => answer.body === body);

/** How often each answer came in a thousand requests. */
async function shares(path: string, headers: Record<string, string> = {}): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  for (let round = 0; round < 20; round++) {
    const bodies = await Promise.all(Array.from({ length: 50 }, () => ask(path, headers)));
    for (const { status, body } of bodies) {
      const what = status === 200 ? body : String(status);
      found[what] = (found[what] ?? 0) + 1;
    }
  }
  return found;
}

beforeAll(async () => {
  consul = await ConsulAlone.start({ name: "tr-t-versions", port: 26_090 });
  balancer = await Balancer.start({ name: "tr-t-versions", port, consul: consul.address });
});
afterAll(tearDown);
beforeEach(() => {
  family = `family${families++}`;
});

describe("a service's unversioned name", () => {
  beforeEach(async () => {
    await serve(`${family}/v1`);
    await serve(`${family}/v2`);
    await answers(`/${family}/x`, `${family}/v2 /x`);
  });

  test("is pinned to a version by KV", async () => {
    await consul.put(`${versions}/${family}`, "v1");
    expect((await answers(`/${family}/x`, `${family}/v1 /x`)).body).toBe(`${family}/v1 /x`);
    expect((await ask(`/${family}/v2/x`)).body).toBe(`${family}/v2 /x`);
    expect((await ask(`/${family}`, { "X-Version": "v2" })).body).toBe(`${family}/v2 /`);
  });

  test("answers 404 when pinned to a version that does not exist", async () => {
    await consul.put(`${versions}/${family}`, "v7");
    expect((await until(`${balancer.url}/${family}`, ({ status }) => status === 404)).status).toBe(404);
    expect((await ask(`/${family}`, { "X-Version": "v2" })).body).toBe(`${family}/v2 /`);
  });

  test("is split between versions by KV, and X-Version still selects one", async () => {
    await consul.put(`${versions}/${family}`, "v1=90,v2=10");
    await answers(`/${family}/x`, `${family}/v1 /x`);
    const found = await shares(`/${family}/x?y`);
    expect(Object.keys(found).sort()).toEqual([`${family}/v1 /x?y`, `${family}/v2 /x?y`]);
    // Five standard deviations of a thousand draws.
    expect(Math.abs((found[`${family}/v2 /x?y`] ?? 0) - 100)).toBeLessThan(50);
    expect(await shares(`/${family}/x`, { "X-Version": "v2" })).toEqual({ [`${family}/v2 /x`]: 1_000 });
  });
});

test("each version's own strip_prefix applies, independent of other versions", async () => {
  await serve(`${family}/v1`, { strip_prefix: "false" });
  await serve(`${family}/v2`);
  expect((await answers(`/${family}/x`, `${family}/v2 /x`)).body).toBe(`${family}/v2 /x`);
  expect((await ask(`/${family}/v1/x`)).body).toBe(`${family}/v1 /${family}/v1/x`);
  expect((await ask(`/${family}/x`, { "X-Version": "v1" })).body).toBe(`${family}/v1 /${family}/x`);
  await consul.put(`${versions}/${family}`, "v1=50,v2=50");
  await answers(`/${family}/x`, `${family}/v1 /${family}/x`);
  expect(Object.keys(await shares(`/${family}/x`)).sort()).toEqual([
    `${family}/v1 /${family}/x`,
    `${family}/v2 /x`,
  ]);
});

test("a version whose only instance dies loses the name to the previous version and regains it on recovery", async () => {
  await serve(`${family}/v1`);
  const newest = await serve(`${family}/v2`);
  await answers(`/${family}`, `${family}/v2 /`);
  newest.stop();
  expect((await answers(`/${family}`, `${family}/v1 /`)).body).toBe(`${family}/v1 /`);
});

test("a version with weight 0 gets no traffic and does not take the name", async () => {
  await serve(`${family}/v1`);
  await serve(`${family}/v2`, { weight: "0" });
  await answers(`/${family}`, `${family}/v1 /`);
  await sleep(500);
  expect(await shares(`/${family}`)).toEqual({ [`${family}/v1 /`]: 1_000 });
});

test("a canary gets its weighted share of the traffic", async () => {
  await serve(family, { weight: "90" }, "stable");
  await serve(family, { weight: "10" }, "canary");
  await answers(`/${family}`, "canary /");
  const { "canary /": canary = 0, ...others } = await shares(`/${family}`);
  expect(Object.keys(others)).toEqual(["stable /"]);
  expect(Math.abs(canary - 100)).toBeLessThan(50);
});

test("an instance that fails its health check gets no traffic until it passes", async () => {
  let healthy = false;
  await serve(family, { health_path: "/health" }, "well");
  await answers(`/${family}`, "well /");
  const ill = await Instance.start("ill", (request, response) => {
    response.statusCode = request.url === "/health" && !healthy ? 500 : 200;
    response.end("ill");
  });
  await consul.register(family, ill.port, { Meta: { health_path: "/health" } });
  await sleep(1_000);
  expect(await shares(`/${family}`)).toEqual({ "well /": 1_000 });
  healthy = true;
  expect((await answers(`/${family}`, "ill")).body).toBe("ill");
});

test("a dropped connection costs no idempotent request and repeats no other request", async () => {
  let posts = 0;
  const bad = await Instance.start("bad", (request, response) => {
    if (request.method === "HEAD") return response.end();
    if (request.method === "POST") posts++;
    return request.socket.destroy();
  });
  await consul.register(family, bad.port);
  await until(`${balancer.url}/${family}`, ({ status }) => status === 502);
  const post = await get(`${balancer.url}/${family}`, { method: "POST" });
  expect(post.status).toBe(502);
  expect(posts).toBe(1);
  await serve(family, {}, "good");
  await answers(`/${family}`, "good /");
  expect(await shares(`/${family}`)).toEqual({ "good /": 1_000 });
});

test("none of this takes a reload", async () => {
  expect(await balancer.reloads()).toBe(0);
});
