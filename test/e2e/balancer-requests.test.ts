import type { RequestListener } from "node:http";

import { afterAll, beforeAll, expect, test } from "vitest";

import { Balancer, ConsulAlone, Instance } from "./balancer";
import { get, until } from "./http";

// Requests and registrations that other systems are known to stumble over.

const port = 26_100;
const instances: Instance[] = [];
let consul: ConsulAlone;
let balancer: Balancer;

async function register(
  name: string,
  more: Readonly<Record<string, unknown>> = {},
  answer?: RequestListener,
): Promise<Instance> {
  const instance = await Instance.start(name, answer);
  instances.push(instance);
  await consul.register(name, instance.port, more);
  return instance;
}

const answers = (path: string) => until(balancer.url + path, ({ status }) => status === 200);

beforeAll(async () => {
  consul = await ConsulAlone.start({ name: "rq-t-requests", port: 26_110 });
  balancer = await Balancer.start({ name: "rq-t-requests", port, consul: consul.address });
});
afterAll(async () => {
  for (const instance of instances) instance.stop();
  await balancer.stop();
  await consul.stop();
});

test("a sidecar or gateway of Consul's service mesh gets no URL and takes none", async () => {
  await register("mesh", { Kind: "mesh-gateway", Meta: { path: "/web" } });
  await register("web", { Meta: { path: "/web" }, Connect: { SidecarService: {} } });
  for (const name of ["mesh", "web-sidecar-proxy"])
    await until(`http://${consul.address}/v1/catalog/service/${name}`, ({ body }) => body.includes(name));
  await register("after");
  await answers("/after");
  expect(await answers("/web")).toMatchObject({ status: 200, body: "web" });
  expect((await get(`${balancer.url}/web-sidecar-proxy`)).status).toBe(404);
  expect(JSON.stringify(await balancer.routes())).not.toMatch(/mesh|sidecar/);
});
