import { execFileSync } from "node:child_process";
import { chmodSync, renameSync, rmSync, writeFileSync } from "node:fs";
import * as https from "node:https";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type TLSSocket } from "node:tls";

import { afterAll, beforeAll, expect, test } from "vitest";

import { Balancer, ConsulAlone, Instance } from "./balancer";
import { makeCertificate } from "./certificates";
import { get, until } from "./http";
import { scratch } from "./scratch";
import { tearDown } from "./tear-down";

// HTTPS with certificates that are added, replaced and removed while the load balancer runs.

const port = 26_010;
const httpsPort = 26_015;
const certs = scratch();
const a = makeCertificate("a.test");
const b = makeCertificate("b.test");
let consul: ConsulAlone;
let balancer: Balancer;
let instance: Instance;

/** Writes a file beside its target and renames it, like tools that renew certificates. */
function mount(name: string, text: string): void {
  const file = join(certs.path, name);
  writeFileSync(`${file}.new`, text, { mode: 0o644 });
  renameSync(`${file}.new`, file);
}

/** Name and serial number of the certificate that a client receives for `servername`. */
function served(servername?: string): Promise<{ name: string; serial: string }> {
  return new Promise((resolve) => {
    const socket: TLSSocket = connect(
      { port: httpsPort, rejectUnauthorized: false, ...(servername === undefined ? {} : { servername }) },
      () => {
        const { subject, serialNumber } = socket.getPeerCertificate();
        socket.destroy();
        resolve({ name: String(subject.CN), serial: serialNumber });
      },
    );
    socket.on("error", (error: Error) => {
      resolve({ name: error.message, serial: "" });
    });
  });
}

async function untilServed(
  wished: (found: { name: string; serial: string }) => boolean,
  servername?: string,
) {
  for (let tries = 0; ; tries++) {
    const found = await served(servername);
    if (wished(found) || tries > 200) return found;
    await sleep(50);
  }
}

function secure(
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    https
      .get({ port: httpsPort, path, headers, rejectUnauthorized: false, agent: false }, (response) => {
        let body = "";
        response.on("data", (chunk: Buffer) => (body += chunk.toString()));
        response.on("end", () => {
          resolve({ status: response.statusCode ?? 0, body });
        });
      })
      .on("error", reject);
  });
}

async function reloads(): Promise<string[]> {
  const { body } = await get(`${balancer.admin}/metrics`);
  return body.split("\n").filter((line) => line.startsWith("switchyard_reloads_total"));
}

async function logged(text: string): Promise<string> {
  for (let tries = 0; ; tries++) {
    const logs = await balancer.logs();
    if (logs.includes(text) || tries > 100) return logs;
    await sleep(100);
  }
}

beforeAll(async () => {
  chmodSync(certs.path, 0o755);
  mount("a.pem", a.pem + a.key);
  instance = await Instance.start("echo", (request, response) => {
    response.end(JSON.stringify(request.headers));
  });
  consul = await ConsulAlone.start({ name: "tr-t-tls", port: 26_000 });
  balancer = await Balancer.start({
    name: "tr-t-tls",
    port,
    consul: consul.address,
    args: ["--certs=/certs", `--https-port=${httpsPort}`, "--redirect-https"],
    docker: ["-v", `${certs.path}:/certs:ro`],
  });
  await consul.register("echo", instance.port);
  for (let tries = 0; tries < 500 && (await secure("/echo")).status !== 200; tries++) await sleep(20);
});
afterAll(tearDown);

test("a service sees the HTTPS scheme, and HTTP redirects to HTTPS", async () => {
  const answer = await secure("/echo/x", { "X-Forwarded-Proto": "gopher" });
  expect(answer.status).toBe(200);
  expect(JSON.parse(answer.body)).toMatchObject({
    "x-forwarded-proto": "https",
    "x-forwarded-prefix": "/echo",
  });
  const redirect = await get(`${balancer.url}/echo/x?y=1`, { method: "POST" });
  expect(redirect.status).toBe(308);
  expect(redirect.headers.location).toBe(`https://127.0.0.1:${httpsPort}/echo/x?y=1`);
  expect((await get(`${balancer.url}/echo`, { headers: { Host: ":80" } })).status).toBe(400);
});

test("certificates are added, replaced and removed without a reload, each for its own name", async () => {
  const before = await reloads();
  expect((await served()).name).toBe("a.test");
  mount("b.pem", b.pem + b.key);
  expect((await untilServed(({ name }) => name === "b.test", "b.test")).name).toBe("b.test");
  const { body: page } = await get(`${balancer.admin}/`);
  expect(page).toMatch(/a\.pem.*a\.test.*b\.pem.*b\.test/s);
  expect((await served("a.test")).name).toBe("a.test");

  const old = await served("a.test");
  const renewed = makeCertificate("a.test");
  mount("a.pem", renewed.pem + renewed.key);
  expect((await untilServed(({ serial }) => serial !== old.serial, "a.test")).serial).not.toBe(old.serial);

  rmSync(join(certs.path, "b.pem"));
  expect((await untilServed(({ name }) => name === "a.test", "b.test")).name).toBe("a.test");
  expect(await reloads()).toEqual(before);
});

test("an unusable certificate is rejected with a reason and changes nothing", async () => {
  const before = await served("a.test");
  const expired = makeCertificate("a.test", { days: -1 });
  for (const [text, why] of [
    [a.pem + b.key, "does not belong to its first certificate"],
    [expired.pem + expired.key, "expired on"],
    ["nonsense", "has no certificate"],
  ] as const) {
    mount("a.pem", text);
    expect(await logged(why)).toContain("The earlier one stays.");
  }
  const weak = makeCertificate("weak.test", { weak: true });
  mount("weak.pem", weak.pem + weak.key);
  expect(await logged("is refused by HAProxy")).toContain("weak.pem");
  expect(await served("a.test")).toEqual(before);
  expect((await secure("/echo")).status).toBe(200);
});

test("an invalid mounted certificate breaks neither a reload nor a restart", async () => {
  const before = await served("a.test");
  await consul.register("odd", instance.port, { Meta: { balance: "leastconn" } });
  await until(`${balancer.admin}/metrics`, ({ body }) => /reloads_total\{reason="new service"\}/.test(body));
  expect(await served("a.test")).toEqual(before);
  // TLS 1.1 is refused.
  const tls11 = () =>
    execFileSync("openssl", ["s_client", "-connect", `127.0.0.1:${httpsPort}`, "-tls1_1"], {
      stdio: "pipe",
      input: "",
    });
  expect(tls11).toThrow();
});
