import { afterAll, beforeAll, expect, test } from "vitest";

import { Balancer, balancerImage, ConsulAlone, Instance } from "./balancer";
import { docker } from "./docker";
import { get, until } from "./http";
import { tearDown } from "./tear-down";

let consul: ConsulAlone;
let balancer: Balancer;
let instance: Instance;

beforeAll(async () => {
  consul = await ConsulAlone.start({ name: "alone", port: 24_500 });
  balancer = await Balancer.start({ name: "alone", port: 24_510, consul: consul.address });
  instance = await Instance.start("shop");
});
afterAll(tearDown);

test("the image works alone and routes the services of any Consul", async () => {
  await consul.register("shop/v1", instance.port);
  const answer = await until(`${balancer.url}/shop/v1`, ({ status }) => status === 200);
  expect(answer).toMatchObject({ status: 200, body: "shop" });
  await consul.deregister("shop/v1", instance.port);
  const gone = await until(`${balancer.url}/shop/v1`, ({ status }) => status === 404);
  expect(gone.status).toBe(404);
});

test("it runs without root and contains no password", async () => {
  expect(await docker("exec", balancer.container, "id", "-u")).toBe("10001");
  expect((await get("http://127.0.0.1:24511")).status).toBe(0);
  expect(await balancer.logs()).toContain("STATS_PASSWORD");
});

test("--dry --once prints the configuration and starts nothing", async () => {
  await consul.register("dry", instance.port);
  const printed = await docker(
    ...["run", "--rm", "--network", "host", await balancerImage()],
    ...[`--consul=${consul.address}`, "--dry", "--once"],
  );
  expect(printed).toContain("frontend http");
  expect(printed).toContain("*/dry/ -|4|/dry|svc:dry|dry");
  await consul.deregister("dry", instance.port);
});
