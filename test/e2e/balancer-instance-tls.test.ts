import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { createSecureServer } from "node:http2";
import type { RequestListener } from "node:http";
import * as https from "node:https";
import type { AddressInfo, Server } from "node:net";
import { join } from "node:path";
import { TLSSocket } from "node:tls";

import { afterAll, beforeAll, expect, test } from "vitest";

import { startDnsServer } from "../../lib/testing-dns";
import { Balancer, ConsulAlone, Instance } from "./balancer";
import { makeCertificate } from "./certificates";
import { get, until } from "./http";
import { scratch } from "./scratch";
import { afterwards, tearDown } from "./tear-down";

// Instances that speak TLS: verified, not verified, and by mistake.

const port = 26_510;
const folder = scratch();
const shop = makeCertificate("shop.internal");
const other = makeCertificate("other.internal");
let consul: ConsulAlone;
let balancer: Balancer;

function mount(name: string, text: string): void {
  writeFileSync(join(folder.path, name), text, { mode: 0o644 });
}

/** The names that instances were asked for (SNI), in checks and in requests. */
const asked = new Map<string, Set<unknown>>();

/** How often they were checked. */
const checks = new Map<string, number>();

type Certificate = ReturnType<typeof makeCertificate>;

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      afterwards(() => {
        server.close();
      });
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** An instance that speaks only TLS, and answers with its name and HTTP's version. */
function secure(name: string, { pem: cert, key }: Certificate, http2 = false): Promise<number> {
  const answer: RequestListener = (request, response) => {
    const names = asked.get(name) ?? new Set();
    if (request.method === "HEAD") checks.set(name, (checks.get(name) ?? 0) + 1);
    if (request.socket instanceof TLSSocket) asked.set(name, names.add(request.socket.servername));
    response.end(`${name} ${request.httpVersion}`);
  };
  return listen(
    http2
      ? createSecureServer({ cert, key }, (request, response) => {
          response.end(`${name} ${request.httpVersion}`);
        })
      : https.createServer({ cert, key }, answer),
  );
}

async function register(
  name: string,
  at: number,
  meta: Readonly<Record<string, string>> = {},
): Promise<void> {
  await consul.register(name, at, { Meta: meta });
}

interface Routes {
  readonly services: readonly {
    readonly name: string;
    readonly instances: readonly { readonly state: string; readonly check?: string }[];
  }[];
  readonly quarantined: readonly { readonly subject: string; readonly message: string }[];
  readonly warnings: readonly { readonly subject: string; readonly message: string }[];
}

const checkOf = async (service: string): Promise<string | undefined> =>
  (await balancer.routes<Routes>()).services.find(({ name }) => name === service)?.instances[0]?.check;

async function answers(service: string, body: string): Promise<void> {
  expect((await until(`${balancer.url}/${service}`, ({ status }) => status === 200)).body).toBe(body);
}

beforeAll(async () => {
  chmodSync(folder.path, 0o755);
  mount("internal.pem", shop.pem);
  const dns = await startDnsServer(new Map([["shop.internal", { addresses: ["127.0.0.1"] }]]));
  afterwards(() => {
    dns.stop();
  });
  consul = await ConsulAlone.start({ name: "tls-i", port: port + 5 });
  balancer = await Balancer.start({
    name: "tls-i",
    port,
    consul: consul.address,
    args: ["--authorities=/authorities", `--dns=${dns.address}`],
    docker: ["-v", `${folder.path}:/authorities:ro`],
  });
});
afterAll(tearDown);

test("an instance whose certificate is signed by the named authority answers, without a reload", async () => {
  const before = await balancer.reloads();
  const meta = { proto: "https", tls_ca: "internal.pem", tls_server_name: "shop.internal" };
  await register("good", await secure("good", shop), meta);
  await answers("good", "good 1.1");
  expect(await balancer.reloads()).toBe(before);
  // One check of HAProxy's comes every 2 s.
  await expect.poll(() => checks.get("good") ?? 0, { timeout: 15_000 }).toBeGreaterThan(1);
  expect(asked.get("good")).toEqual(new Set(["shop.internal"]));
  expect((await get(`${balancer.url}/good`)).body).toBe("good 1.1");
});

test("an instance with a name in DNS is verified by that name", async () => {
  const meta = { proto: "https", tls_ca: "internal.pem", host: "shop.test" };
  const at = { Address: "shop.internal", Meta: meta };
  await consul.register("named", await secure("named", shop), at);
  const answer = () => get(`${balancer.url}/named`, { headers: { Host: "shop.test" } });
  await expect.poll(async () => (await answer()).body).toBe("named 1.1");
  expect(asked.get("named")).toEqual(new Set(["shop.internal"]));
});

test("HTTP/2 is spoken with an instance that prefers it", async () => {
  await register("two", await secure("two", shop, true), {
    proto: "https",
    tls_ca: "internal.pem",
    tls_server_name: "shop.internal",
  });
  await answers("two", "two 2.0");
});

test("without verification, any certificate will do", async () => {
  await register("any", await secure("any", other), { proto: "https", tls_verify: "false" });
  await answers("any", "any 1.1");
});

test.each([
  ["self-signed", { tls_server_name: "shop.internal" }, "no trusted authority has signed"],
  ["misnamed", { tls_server_name: "wrong.internal", tls_ca: "internal.pem" }, "is not for wrong.internal"],
])("an instance that is %s gets no requests, and the reason is told", async (name, meta, why) => {
  await register(name, await secure(name, shop), { proto: "https", ...meta });
  await expect.poll(() => checkOf(name)).toContain(why);
  expect((await get(`${balancer.url}/${name}`)).status).toBe(503);
  expect((await get(`${balancer.admin}/explain?url=/${name}`)).body).toContain(why);
  expect(asked.has(name)).toBe(false);
});

test("an instance that speaks TLS by mistake is told of", async () => {
  await register("mistake", await secure("mistake", shop));
  await expect
    .poll(() => checkOf("mistake"), { timeout: 15_000 })
    .toBe("speaks TLS, not plain HTTP: set SERVICE_PROTO=https");
  expect((await get(`${balancer.url}/mistake`)).status).toBe(503);
});

test("an instance that does not speak TLS is told of", async () => {
  const plain = await Instance.start("plain");
  await register("plain", plain.port, { proto: "https", tls_verify: "false" });
  await expect.poll(() => checkOf("plain")).toContain("does not answer in TLS");
});

test("a service that turns from HTTP to HTTPS is followed", async () => {
  const plain = await Instance.start("turns plain");
  await register("turns", plain.port);
  await answers("turns", "turns plain");
  plain.stop();
  await consul.deregister("turns", plain.port);
  await register("turns", await secure("turns", other), { proto: "https", tls_verify: "false" });
  await answers("turns", "turns 1.1");
});

test("a missing authority concerns only its service, which is routed once it is there", async () => {
  await register("later", await secure("later", other), {
    proto: "https",
    tls_ca: "later.pem",
    tls_server_name: "other.internal",
  });
  const message = async () =>
    (await balancer.routes<Routes>()).quarantined.find(({ subject }) => subject === "later")?.message;
  await expect.poll(message).toContain("is not in the load balancer's folder of authorities");
  expect((await get(`${balancer.url}/good`)).status).toBe(200);
  mount("later.pem", "not a certificate");
  await expect.poll(message, { timeout: 15_000 }).toContain("has no certificate");
  mount("later.pem", other.pem);
  await answers("later", "later 1.1");
  expect((await get(`${balancer.url}/good`)).status).toBe(200);
});

test("a changed authority counts for running instances too", async () => {
  await answers("later", "later 1.1");
  mount("later.pem", shop.pem);
  expect((await until(`${balancer.url}/later`, ({ status }) => status === 503)).status).toBe(503);
  mount("later.pem", other.pem);
  await answers("later", "later 1.1");
  rmSync(join(folder.path, "later.pem"));
  expect((await until(`${balancer.url}/later`, ({ status }) => status === 404)).status).toBe(404);
  expect((await get(`${balancer.url}/good`)).status).toBe(200);
});
