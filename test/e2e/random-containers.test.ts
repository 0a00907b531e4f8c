import { mkdirSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import { Balancer, ConsulAlone } from "./balancer";
import { containerMark } from "./bases";
import { bridgeAddress as bridge, docker, hostAddress as outside, lines, removeContainers } from "./docker";
import { get } from "./http";
import { buildImage } from "./images";
import {
  kinds,
  nobody,
  RandomContainers,
  type Container,
  type Endpoint,
  type Kind,
  type Lane,
} from "./random-containers";
import { scratch } from "./scratch";
import { run } from "./stack";
import { afterwards, tearDown } from "./tear-down";

// Many containers that come, go and move at random, while every URL is asked all the time: no request may be answered by another
// service. With a real engine, Consul, Registrator and load balancer. It uses ports 28000 to 28999.

const prefix = "rc-t";
/** How many containers there are over time. Set RANDOM_CONTAINERS for more; 500 take about eight minutes. */
const count = Number(process.env["RANDOM_CONTAINERS"] ?? 30);
/** Set RANDOM_SEED to the printed one to repeat a run. */
const seed = Number(process.env["RANDOM_SEED"] ?? Date.now() % 1_000_000);
/**
 * The system sends the lost first packet of a connection again, after a second, to whoever has the address by then (a known
 * limit). HAProxy gives the connection up before that.
 */
const connectTimeoutMs = 900;
/** After as many new containers, nothing changes until all is as it should be. */
const quietEvery = 50;
const settleMs = 40_000;
/** How long a service without a container is asked as often as the others. */
const goneMs = 10_000;
const limitMs = 120_000 + count * 3_000;

const image = "switchyard/registrator:e2e-random";
const exposing = "switchyard/registrator:e2e-random-exposing";
const port = 28_000;

const containers = new RandomContainers({
  seed,
  count,
  prefix,
  image,
  exposing,
  network: prefix,
  outside,
  bridge,
  port,
});

let balancer: Balancer;

beforeAll(async () => {
  await buildImage("registrator", image);
  const context = scratch();
  writeFileSync(join(context.path, "Dockerfile"), `FROM ${image}\nEXPOSE 8080\n`);
  await docker("build", "-q", "-t", exposing, context.path);
  const consul = await ConsulAlone.start({ name: prefix, port: port + 50 });
  await consul.put("kv/service/haproxy/timeouts/connect", String(connectTimeoutMs));
  balancer = await Balancer.start({ name: prefix, port, consul: consul.address });
  await docker("network", "create", "--label", containerMark, prefix);
  afterwards(() => docker("network", "rm", prefix));
  const own = ["--name", `${prefix}-registrator`, "--network", "host", "-l", "SERVICE_IGNORE=true"];
  const socket = ["-v", "/var/run/docker.sock:/var/run/docker.sock"];
  await docker("run", "-d", ...own, ...socket, image, `-ip=${bridge}`, `consul://${consul.address}`);
  afterwards(async () => {
    await removeContainers(...lines(await docker("ps", "-aq", "--filter", `name=^${prefix}-`)));
  });
});
afterAll(tearDown);

/** What was done and answered, for a failure. */
const journal: string[] = [];
const note = (line: string) => journal.push(`${new Date().toISOString()} ${line}`);

/** Asks for every service all the time, also while earlier requests wait. */
class Asker {
  readonly wrong: string[] = [];
  requests = 0;
  /** By the container that gave them. */
  readonly answers = new Map<string, number>();
  private isOver = false;
  private readonly asked = new Map<string, Promise<void>>();
  private readonly busy = new http.Agent({ keepAlive: true, scheduling: "fifo" });
  private readonly browsers: readonly Promise<void>[];

  constructor() {
    this.browsers = Array.from({ length: 10 }, (_, at) => this.browse(2_000 + at * 1_000));
  }

  ask(services: Iterable<string>): void {
    for (const service of services)
      if (!this.asked.has(service)) this.asked.set(service, this.repeat(service));
  }

  async stop(): Promise<void> {
    this.isOver = true;
    await Promise.all([...this.asked.values(), ...this.browsers]);
    this.busy.destroy();
  }

  private async repeat(service: string): Promise<void> {
    while (!this.isOver) {
      await Promise.race([this.once(service, this.busy), sleep(200)]);
      await sleep(isAlive(service) ? 50 : 1_000);
    }
  }

  /** One connection that is idle most of the time, as a browser has. */
  private async browse(pauseMs: number): Promise<void> {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (let at = 0; !this.isOver; at++) {
      await sleep(pauseMs);
      const services = [...this.asked.keys()];
      const chosen = Array.from({ length: 5 }, (_, index) =>
        services.at(-1 - ((at * 7 + index * 3) % services.length)),
      );
      for (const service of chosen) if (service !== undefined) await this.once(service, agent);
    }
    agent.destroy();
  }

  private async once(service: string, agent: http.Agent): Promise<void> {
    const number = ++this.requests;
    const start = Date.now();
    const { status, body } = await get(`${urlOf(service)}?n=${number}`, { agent });
    if (status !== 200) return;
    const [from = "", container = ""] = body.split(" ");
    this.answers.set(container, (this.answers.get(container) ?? 0) + 1);
    if (from === service) return;
    const sent = new Date(start).toISOString();
    const idle = agent === this.busy ? "" : ", on a connection that was idle";
    const sentence = `request ${number} for ${service}, sent ${sent}, was answered ${Date.now() - start} ms later by ${from} (${container})${idle}`;
    note(sentence);
    this.wrong.push(sentence);
  }
}

/** When services were last seen to have a container. */
const seenAt = new Map<string, number>();

/** Whether a container has the service, or had it a moment ago. The others are asked less often. */
function isAlive(service: string): boolean {
  const has = containers.containers.some(({ endpoints }) =>
    endpoints.some((each) => each.service === service),
  );
  if (has) seenAt.set(service, Date.now());
  return Date.now() - (seenAt.get(service) ?? 0) < goneMs;
}

const answersOf = (kind: Kind, answers: ReadonlyMap<string, number>): number =>
  [...containers.kinds].reduce((sum, [id, each]) => sum + (each === kind ? (answers.get(id) ?? 0) : 0), 0);

interface Inspected {
  readonly Id: string;
  readonly State: { readonly Running: boolean; readonly Paused: boolean; readonly StartedAt: string };
  readonly NetworkSettings: { readonly Ports: Readonly<Record<string, readonly unknown[] | null>> };
}

/** By the container's ID in its answers. */
async function inspectAll(): Promise<Map<string, Inspected>> {
  const names = containers.containers.map(({ name }) => name);
  if (names.length === 0) return new Map();
  const found = JSON.parse(await docker("inspect", ...names)) as Inspected[];
  return new Map(containers.containers.map(({ id }, at) => [id, found[at] as Inspected]));
}

const isPublished = (inspected: Inspected | undefined, port: number): boolean =>
  (inspected?.NetworkSettings.Ports[`${port}/tcp`] ?? []).length > 0;

/** Whether requests for a service must reach this container; "unclear" where that is not for Registrator to know. */
function shouldAnswer(
  { id, kind, owner }: Container,
  { port: at }: Endpoint,
  found: ReadonlyMap<string, Inspected>,
): boolean | "unclear" | undefined {
  const own = found.get(id);
  if (!own?.State.Running || own.State.Paused) return undefined;
  if (kind === "host network") return "unclear";
  if (kind === "host network, other port") return false;
  if (owner === undefined) return isPublished(own, at);
  const network = found.get(owner.id);
  const runs = network?.State.Running === true && network.State.StartedAt < own.State.StartedAt;
  return runs && isPublished(network, at);
}

interface Status {
  readonly pending: readonly string[];
  readonly unrouted: readonly { readonly subject: string; readonly message: string }[];
}

/** What is not as it should be while nothing changes. */
async function faults(): Promise<string[]> {
  const found = await inspectAll();
  const { unrouted, pending } = await balancer.routes<Status>();
  const statuses = new Map<string, number>();
  for (const service of containers.services.keys()) statuses.set(service, (await get(urlOf(service))).status);
  const expected = new Map<string, boolean | "unclear">();
  const faulty = [...pending];
  for (const container of containers.containers)
    for (const endpoint of container.endpoints) {
      const { service } = endpoint;
      const should = service === nobody ? undefined : shouldAnswer(container, endpoint, found);
      if (should === undefined) continue;
      if (expected.get(service) !== true) expected.set(service, should);
      const isNamed = (part: string) =>
        unrouted.some(({ subject, message }) => subject === service && message.includes(part));
      const isReached = statuses.get(service) === 200;
      const what = `${service} (${container.name}, ${container.kind})`;
      if ((should === false || (should === "unclear" && !isReached)) && !isNamed(`"${container.name}"`))
        faulty.push(`${what} is not routed, without a reason`);
      if (container.kind === "tcp and udp" && should === true && !isNamed("UDP"))
        faulty.push(`the UDP port of ${what} is not routed, without a reason`);
    }
  for (const [service, status] of statuses) {
    const should = expected.get(service) ?? false;
    if (should !== "unclear" && should !== (status === 200))
      faulty.push(`${service} should ${should ? "answer" : "not answer"}: ${status}`);
  }
  return faulty;
}

/** The faults that are left when there is enough time to settle. */
async function lastingFaults(): Promise<string[]> {
  const end = Date.now() + settleMs;
  for (;;) {
    const found = await faults();
    if (found.length === 0 || Date.now() > end) return found;
    await sleep(500);
  }
}

/** Where a service is asked, whether or not it is there. */
function urlOf(service: string): string {
  const tcpPort = containers.services.get(service)?.tcpPort;
  return tcpPort === undefined ? `${balancer.url}/${service}` : `http://127.0.0.1:${tcpPort}/`;
}

async function carryOut(lane: Lane): Promise<string[]> {
  const failed: string[] = [];
  for (const command of lane) {
    note(`docker ${command.join(" ")}`);
    const { code, output } = await run("docker", command);
    note(`docker ${command.slice(0, 4).join(" ")} …: ${code === 0 ? "done" : output}`);
    if (code !== 0) failed.push(`docker ${command.join(" ")}: ${output}`);
  }
  return failed;
}

/** Everything that happened, for whoever looks for the cause of a failure. */
async function writeJournal(): Promise<string> {
  const file = ".switchyard/random-containers.log";
  const logs = ["registrator", "balancer"].map(async (name) => {
    const { output } = await run("docker", ["logs", "-t", `${prefix}-${name}`]);
    return `\n${name}:\n${output}`;
  });
  mkdirSync(".switchyard", { recursive: true });
  writeFileSync(file, [...journal, ...(await Promise.all(logs))].join("\n"));
  return file;
}

test(
  `no request to ${count} random containers is answered by another service`,
  async () => {
    console.log(`RANDOM_SEED=${seed} RANDOM_CONTAINERS=${count}`);
    const asker = new Asker();
    const faulty: string[] = [];
    const failed: string[] = [];
    const end = Date.now() + limitMs;
    for (let quietAt = quietEvery; !containers.isOver() && Date.now() < end;) {
      const round = containers.round();
      asker.ask([...containers.services.keys()].filter((service) => service !== nobody));
      failed.push(...(await Promise.all(round.map(carryOut))).flat());
      if (containers.created < quietAt && !containers.isOver()) continue;
      quietAt += quietEvery;
      note("nothing changes");
      faulty.push(...(await lastingFaults()));
    }
    await asker.stop();
    const { requests, answers, wrong } = asker;
    const total = [...answers.values()].reduce((sum, each) => sum + each, 0);
    const reloads = await balancer.reloads();
    console.log(`${requests} requests, ${total} answers, ${wrong.length} wrong, ${reloads} reloads`);
    const byKind = kinds.map((kind) => `${kind} ${answersOf(kind, answers)}`);
    console.log(`answers by kind: ${byKind.join(", ")}`);
    // Docker itself fails now and then, such as to freeze a container that has just started.
    if (failed.length > 0) console.log(failed.join("\n"));
    expect(failed.length).toBeLessThan(count / 10);
    const missing = containers.isOver()
      ? []
      : [`only ${containers.created} containers within ${limitMs / 1000} s`];
    const found = [...wrong, ...faulty, ...missing];
    if (found.length > 0) console.log(`What happened is in ${await writeJournal()}.`);
    expect(found).toEqual([]);
  },
  limitMs + 120_000,
);
