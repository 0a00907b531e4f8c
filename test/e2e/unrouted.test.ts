import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { Balancer, ConsulAlone } from "./balancer";
import { inBrowser } from "./browser";
import { docker, removeContainers } from "./docker";
import { get, until } from "./http";
import { buildImage } from "./images";
import { scratch } from "./scratch";
import { afterwards, tearDown } from "./tear-down";

// Containers that were probably meant to be routed, with a real engine, Registrator, Consul and load balancer.

const prefix = "un-t";
const tcpPort = 29_153;
const image = "switchyard/registrator:e2e-unrouted";
/** Docker starts two processes for each published port, so that 500 take a while. */
const exposed = Number(process.env["EXPOSED_PORTS"] ?? 40);
const files = scratch();
let consul: ConsulAlone;
let balancer: Balancer;
let log = "";

const who = (name: string) => `require('http').createServer((q,r)=>r.end('${name}')).listen(8080)`;
const run = async (name: string, ...flags: string[]): Promise<void> => {
  afterwards(() => removeContainers(`${prefix}-${name}`));
  const own = ["--name", `${prefix}-${name}`, "--no-healthcheck", "--entrypoint", "node"];
  await docker("run", "-d", ...own, ...flags, image, "-e", who(name));
};
interface Status {
  readonly quarantined: readonly unknown[];
  readonly unrouted: readonly { readonly subject: string; readonly message: string }[];
}
const why = async (subject: string): Promise<string | undefined> =>
  (await balancer.routes<Status>()).unrouted.find((each) => each.subject === subject)?.message;
const eventually = { timeout: 15_000, interval: 100 };

beforeAll(async () => {
  await buildImage("registrator", image);
  consul = await ConsulAlone.start({ name: prefix, port: 29_100 });
  balancer = await Balancer.start({ name: prefix, port: 29_110, consul: consul.address });
  const main = join(__dirname, "../../templates/registrator/dist/main.js");
  const args = ["--hostname", `${prefix}-node`, "-ip=127.0.0.1", `consul://${consul.address}`];
  const registrator = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  afterwards(async () => {
    const ended = once(registrator, "exit");
    registrator.kill("SIGTERM");
    await ended;
  });
  registrator.stdout.on("data", (chunk: Buffer) => (log += chunk.toString()));
});
afterAll(tearDown);

test("a container without a published port is in the log, on the page and in explain, until it has one", async () => {
  const settings = ["-e", "SERVICE_NAME=shy/v1", "-e", "SERVICE_TAGS=rest", "--expose", "8080"];
  await run("shy", ...settings);
  const sentence = "its port 8080 is not published; start it with -P or -p 8080";
  await expect.poll(() => why("shy/v1"), eventually).toContain(sentence);
  expect(log).toContain(`container ${prefix}-shy: not registered: ${sentence}`);
  const { body } = await get(`${balancer.admin}/explain?url=/shy/v1/x`);
  expect(body).toContain("/shy/v1/x: 404");
  expect(body).toMatch(
    new RegExp(`^perhaps +shy/v1: unrouted: Container "${prefix}-shy" .*${sentence}`, "m"),
  );
  await inBrowser(async (page) => {
    await page.goto(balancer.admin);
    const row = page.locator("#attention li", { hasText: "shy/v1" });
    await row.getByText("not routed", { exact: true }).waitFor();
    expect(await row.innerText()).toContain(sentence);
  });
  expect(await balancer.logs()).toContain(`unrouted: Container "${prefix}-shy"`);

  await docker("rm", "-f", `${prefix}-shy`);
  await expect.poll(() => why("shy/v1"), eventually).toBeUndefined();
  await run("shy", ...settings, "-P");
  expect((await until(`${balancer.url}/shy/v1`, ({ status }) => status === 200)).body).toBe("shy");
  expect(await why("shy/v1")).toBeUndefined();
});

test("tags with blanks and quotes are read as meant, and those in capitals are named", async () => {
  const file = join(files.path, "quoted.env");
  writeFileSync(file, 'SERVICE_NAME=quoted\nSERVICE_TAGS="rest"\n');
  await run("quoted", "-p", "8080", "--env-file", file);
  await run("blank", "-p", "8080", "-e", "SERVICE_NAME=blank", "-e", "SERVICE_TAGS=web, rest");
  await run("capital", "-p", "8080", "-e", "SERVICE_NAME=capital", "-e", "SERVICE_TAGS=REST");
  for (const name of ["quoted", "blank"])
    expect((await until(`${balancer.url}/${name}`, ({ status }) => status === 200)).body).toBe(name);
  await expect.poll(() => why("capital"), eventually).toContain('has the tag "REST", which is not rest');
  expect((await get(`${balancer.url}/capital`)).status).toBe(404);
});

test("UDP beside TCP on one port is named and rejects nothing", async () => {
  const dns = ["-p", "8080/tcp", "-p", "8080/udp", "-e", "SERVICE_8080_NAME=dns"];
  const tcp = ["-e", "SERVICE_TAGS=tcp", "-e", `SERVICE_TCP_PORT=${tcpPort}`];
  await run("dns", ...dns, ...tcp);
  expect((await until(`http://127.0.0.1:${tcpPort}/`, ({ status }) => status === 200)).body).toBe("dns");
  await expect.poll(() => why("dns"), eventually).toContain("is UDP, which HAProxy does not balance");
  expect((await balancer.routes<Status>()).quarantined).toEqual([]);
  expect(await balancer.logs()).toMatch(/unrouted: Service dns .* is UDP/);

  await docker("rm", "-f", `${prefix}-dns`);
  await run("dns", ...dns, ...tcp, "-e", "SERVICE_8080_UDP_TAGS=", "-e", "SERVICE_8080_UDP_NAME=dns-udp");
  const answers = async () => (await get(`http://${consul.address}/v1/catalog/service/dns-udp`)).body;
  await expect.poll(answers, eventually).toContain(`${prefix}-node:${prefix}-dns:8080:udp`);
  await expect.poll(() => why("dns"), eventually).toBeUndefined();
});

test(`each of ${exposed} exposed ports has a route of its own`, async () => {
  const ports = Array.from({ length: exposed }, (_, index) => 9000 + index);
  const code = "createServer((q,r)=>r.end('wide-'+p)).listen(p)";
  const listen = `for(let p=9000;p<${9000 + exposed};p++)require('http').${code}`;
  afterwards(() => removeContainers(`${prefix}-wide`));
  const settings = ["-e", "SERVICE_NAME=wide", "-e", "SERVICE_TAGS=rest", "--no-healthcheck"];
  const publish = ["-P", "--expose", `9000-${8999 + exposed}`];
  await docker(
    "run",
    "-d",
    "--name",
    `${prefix}-wide`,
    ...settings,
    ...publish,
    "--entrypoint",
    "node",
    image,
    "-e",
    listen,
  );
  for (const port of ports) {
    const { body } = await until(`${balancer.url}/wide-${port}`, ({ status }) => status === 200);
    expect(body).toBe(`wide-${port}`);
  }
  const { body } = await get(balancer.admin);
  for (const port of ports) expect(body).toContain(`wide-${port}`);
}, 600_000);
