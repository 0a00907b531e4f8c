import { chmodSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { Balancer, ConsulAlone, Instance } from "./balancer";
import { docker } from "./docker";
import { get, until } from "./http";
import { scratch } from "./scratch";
import { tearDown } from "./tear-down";

// Consul is down, has lost its data or never existed: routes stay.

const prefix = "ls-t";

afterAll(tearDown);

describe("losing the registry", () => {
  const services = ["one", "two", "three"];
  const name = `${prefix}-loss`;
  let consul: ConsulAlone;
  let balancer: Balancer;
  let instances: Instance[] = [];

  interface Routes {
    readonly held: readonly { readonly service: string }[];
  }
  const held = async () => (await balancer.routes<Routes>()).held.map(({ service }) => service).sort();
  const statuses = () =>
    Promise.all(services.map(async (service) => (await get(`${balancer.url}/${service}`)).status));
  // Use a node without an agent: an agent would restore what others deregister.
  const Node = "elsewhere";
  const Address = "127.0.0.1";
  const register = () =>
    Promise.all(
      services.map((service, index) =>
        consul.put("catalog/register", {
          Node,
          Address,
          Service: { ID: service, Service: service, Address, Port: instances[index]?.port, Tags: ["rest"] },
        }),
      ),
    );

  beforeAll(async () => {
    consul = await ConsulAlone.start({ name, port: 27_040 });
    instances = await Promise.all(services.map((service) => Instance.start(service)));
    balancer = await Balancer.start({ name, port: 27_050, consul: consul.address });
    await register();
    for (const service of services) await until(`${balancer.url}/${service}`, ({ status }) => status === 200);
  });
  afterAll(tearDown);

  test("an emptied Consul removes no route; re-registration ends the retention", async () => {
    await docker("restart", "-t", "1", consul.container);
    await until(
      `http://${consul.address}/v1/status/leader`,
      ({ status, body }) => status === 200 && body.length > 4,
    );
    await expect.poll(held, { timeout: 20_000 }).toEqual([...services].sort());
    expect(await statuses()).toEqual([200, 200, 200]);
    expect(await balancer.logs()).toContain("docker kill -s USR2");
    await register();
    await expect.poll(held, { timeout: 10_000 }).toEqual([]);
    expect(await statuses()).toEqual([200, 200, 200]);
  });

  test("an instance stopped during the loss is removed at once", async () => {
    const last = services.at(-1) ?? "";
    instances.at(-1)?.stop();
    await consul.put("catalog/deregister", { Node, ServiceID: last });
    const gone = await until(`${balancer.url}/${last}`, ({ status }) => status === 404, { seconds: 5 });
    expect(gone.status).toBe(404);
    instances[instances.length - 1] = await Instance.start(last);
    await register();
    await until(`${balancer.url}/${last}`, ({ status }) => status === 200);
  });

  test("retained instances are released by hand or when the retention time ends", async () => {
    const hurried = await Balancer.start({
      name: `${name}-hurried`,
      port: 27_055,
      consul: consul.address,
      args: ["--hold=3s"],
    });
    // Wait until Consul's answers count as complete.
    await sleep(500);
    await consul.put(
      "txn",
      services.map((service) => ({
        Service: { Verb: "delete", Node, Service: { ID: service, Service: service } },
      })),
    );
    await expect.poll(held, { timeout: 10_000 }).toEqual([...services].sort());
    const [one] = services;
    expect((await get(`${hurried.url}/${one ?? ""}`)).status).toBe(200);
    expect((await until(`${hurried.url}/${one ?? ""}`, ({ status }) => status === 404)).status).toBe(404);
    expect(await hurried.logs()).toContain("no longer held: ");
    await hurried.stop();
    expect(await statuses()).toEqual([200, 200, 200]);
    await docker("kill", "-s", "USR2", balancer.container);
    await expect.poll(statuses, { timeout: 5_000 }).toEqual([404, 404, 404]);
    expect(await held()).toEqual([]);
  });
});

test("serves the last good state without Consul, and finds the one address of several that answers", async () => {
  const name = `${prefix}-boot`;
  const state = scratch();
  chmodSync(state.path, 0o777);
  const instance = await Instance.start("kept");
  const consul = await ConsulAlone.start({ name, port: 27_060 });
  const balancer = await Balancer.start({
    name,
    port: 27_070,
    // Nothing listens at the first address.
    consul: `127.0.0.1:27069,${consul.address}`,
    args: ["--state-dir=/state"],
    docker: ["-v", `${state.path}:/state`],
  });
  try {
    await consul.register("kept", instance.port);
    await until(`${balancer.url}/kept`, ({ status }) => status === 200);
    await consul.stop();
    await docker("restart", "-t", "5", balancer.container);
    const answer = await until(`${balancer.url}/kept`, ({ status }) => status === 200);
    expect(answer).toMatchObject({ status: 200, body: "kept" });
    expect((await get(`${balancer.admin}/ready`)).status).toBe(503);
  } finally {
    instance.stop();
    // The files belong to the container's user.
    await docker("exec", balancer.container, "sh", "-c", "rm -rf /state/*").catch(() => undefined);
    await balancer.stop();
    await consul.stop();
    state.remove();
  }
});
