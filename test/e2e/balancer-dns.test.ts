import { createServer } from "node:http";

import { afterAll, beforeAll, expect, test } from "vitest";

import { startDnsServer, type DnsServer, type Zone } from "../../lib/testing-dns";
import { Balancer, ConsulAlone, Instance } from "./balancer";
import { get, until } from "./http";
import { afterwards, tearDown } from "./tear-down";

// Services whose address in Consul is a name in DNS: of Consul's own, and of a DNS server beside it.

const port = 26_530;
const zone: Zone = new Map();
let dns: DnsServer;
let consul: ConsulAlone;
let balancer: Balancer;

interface Routes {
  readonly services: readonly {
    readonly name: string;
    readonly instances: readonly { readonly address: string; readonly hostname?: string }[];
  }[];
  readonly quarantined: readonly { readonly subject: string; readonly message: string }[];
}

const whyNot = async (service: string): Promise<string | undefined> =>
  (await balancer.routes<Routes>()).quarantined.find(({ subject }) => subject === service)?.message;

/** A name is asked for again within 5 s at the latest, because its TTL here is 0. */
const followed = { seconds: 15 };

beforeAll(async () => {
  dns = await startDnsServer(zone);
  afterwards(() => {
    dns.stop();
  });
  consul = await ConsulAlone.start({ name: "dns-t", port: port + 5 });
  balancer = await Balancer.start({
    name: "dns-t",
    port,
    consul: consul.address,
    // Consul refuses names outside its domain.
    args: [`--dns=127.0.0.1:${port + 6},${dns.address}`],
  });
});
afterAll(tearDown);

test("a name is resolved, and followed to another address without a reload", async () => {
  const before = await Instance.start("before");
  // At the same port of another address.
  const after = createServer((_, response) => response.end("after"));
  await new Promise<void>((resolve) => after.listen(before.port, "127.0.0.9", resolve));
  afterwards(() => {
    after.close();
  });
  const reloads = await balancer.reloads();
  zone.set("moving.test", { addresses: ["127.0.0.1"] });
  await consul.register("moving", before.port, { Address: "moving.test" });
  expect((await until(`${balancer.url}/moving`, ({ status }) => status === 200)).body).toBe("before");
  const found = (await balancer.routes<Routes>()).services.find(({ name }) => name === "moving");
  expect(found?.instances).toMatchObject([{ address: `127.0.0.1:${before.port}`, hostname: "moving.test" }]);

  zone.set("moving.test", { addresses: ["127.0.0.9"] });
  await until(`${balancer.url}/moving`, ({ body }) => body === "after", followed);
  expect((await get(`${balancer.url}/moving`)).body).toBe("after");
  expect(await balancer.reloads()).toBe(reloads);
});

test("a name that does not resolve concerns only its service, and is used once it does", async () => {
  const [late, good] = [await Instance.start("late"), await Instance.start("good")];
  await consul.register("good", good.port);
  await consul.register("late", late.port, { Address: "late.test" });
  await expect
    .poll(() => whyNot("late"))
    .toContain('has address "late.test", which cannot be resolved (ENOTFOUND)');
  expect((await until(`${balancer.url}/good`, ({ status }) => status === 200)).body).toBe("good");
  expect((await get(`${balancer.url}/late`)).status).toBe(503);
  expect((await get(`${balancer.admin}/explain?url=/late`)).body).toContain("cannot be resolved (ENOTFOUND)");
  zone.set("late.test", { addresses: ["127.0.0.1"] });
  expect((await until(`${balancer.url}/late`, ({ status }) => status === 200, followed)).body).toBe("late");
  expect(await whyNot("late")).toBeUndefined();
});

test("a name of Consul's own is resolved by Consul", async () => {
  const inside = await Instance.start("inside");
  await consul.register("inner", inside.port, { Tags: [] });
  await consul.register("outer", inside.port, { Address: "inner.service.consul" });
  expect((await until(`${balancer.url}/outer`, ({ status }) => status === 200)).body).toBe("inside");
});

test("a name keeps its last address while DNS fails", async () => {
  const kept = await Instance.start("kept");
  zone.set("kept.test", { addresses: ["127.0.0.1"] });
  await consul.register("kept", kept.port, { Address: "kept.test" });
  expect((await until(`${balancer.url}/kept`, ({ status }) => status === 200)).body).toBe("kept");
  zone.set("kept.test", 2);
  const warned = async () => JSON.stringify((await balancer.routes<{ warnings: unknown }>()).warnings);
  await expect.poll(warned, { timeout: 15_000 }).toContain("cannot be resolved any more (ESERVFAIL)");
  expect((await get(`${balancer.url}/kept`)).body).toBe("kept");
});

test.each(["db", "db.test:80", "https://db.test", "300.1.1.1", "a_b.test"])(
  "the address %s is refused with the right cure",
  async (address) => {
    await consul.register("wrong", 9, { Address: address });
    await expect.poll(() => whyNot("wrong")).toContain("nor a full name in DNS, such as db.example.com");
    await consul.deregister("wrong", 9);
  },
);
