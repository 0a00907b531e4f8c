import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import type { ScaledServiceStatus, ScalingStatus } from "../../routing/scaling/status";
import { get, startLoad } from "../e2e/http";
import { bootMachines, Machine, removeMachines } from "../e2e/machines";
import { clusterStack as stack, succeeded, type ServiceEntry } from "../e2e/stack";
import { afterwards, tearDown } from "../e2e/tear-down";

// A day of services that are scaled, in a quarter of an hour, on three machines. All the while `web` is asked on each of them.

const machines = ["one", "two", "three"].map((name, index) => new Machine(name, index + 1));
const [one, two] = machines as [Machine, Machine];
const image = "hello";

const service = (name: string, replicas: object): ServiceEntry => ({
  name,
  build: image,
  port: 8080,
  replicas,
  env: { NAME: name },
});
const services = [
  service("web", { min: 2, max: 12, target: 5 }),
  service("nap", { min: 0, max: 4, target: 100, idle: "15s" }),
];
/** Each request takes half a second: twice as many at the same time as in a second would be four. */
const urlOf = (name: string, { address }: Machine): string => `http://${address}/${name}?wait=500`;

/** A figure of the day, printed at its end. */
const figures: string[] = [];
const note = (what: string): void => void figures.push(what);
const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

interface Report {
  readonly node: string;
  readonly isLeading: boolean;
  readonly status?: ScalingStatus;
}

async function reports(): Promise<Report[]> {
  const ask = `fetch("http://127.0.0.1:8405/status").then(async (answer) => console.log(await answer.text()))`;
  const texts = await Promise.all(
    machines.map((each) => each.inNetwork("node", "-e", ask).catch(() => "{}")),
  );
  return texts.map((text) => JSON.parse(text) as Report);
}

/** The machine whose autoscaler decides, and what it says about a service. */
async function decided(name: string): Promise<{ by: string; said: ScaledServiceStatus } | undefined> {
  const found = (await reports()).find(({ isLeading }) => isLeading);
  const said = found?.status?.services.find((each) => each.name === name);
  return found === undefined || said === undefined ? undefined : { by: found.node, said };
}

/** Waits until what is said about a service is as wished. */
async function untilDecided(
  name: string,
  wished: (said: ScaledServiceStatus, by: string) => boolean,
  seconds = 60,
): Promise<{ by: string; said: ScaledServiceStatus }> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await decided(name);
    if (found !== undefined && wished(found.said, found.by)) return found;
    if (Date.now() > end) throw new Error(`${name} is still at ${JSON.stringify(found)} after ${seconds} s`);
    await sleep(200);
  }
}

/** Until the last instance has ended, which goes on answering for a while. */
async function asleep(): Promise<void> {
  await untilDecided("nap", (said) => said.asleep, 120);
  await sleep(15_000);
}

/** 200 requests at once at two load balancers. Returns how long each took, in milliseconds. */
async function wake(): Promise<number[]> {
  const ask = async (index: number): Promise<number> => {
    const start = performance.now();
    const { status, body } = await get(`http://${(index % 2 === 0 ? one : two).address}/nap/${index}`, {
      agent: false,
      timeout: 60_000,
    });
    expect(status, body).toBe(200);
    expect(body).toContain(`/${index}`);
    return performance.now() - start;
  };
  return Promise.all(Array.from({ length: 200 }, (_, index) => ask(index)));
}

const imageOf = (swarmName: string): Promise<string> =>
  one.docker("service", "inspect", swarmName, "-f", "{{.Spec.TaskTemplate.ContainerSpec.Image}}");

const create = (name: string, ...options: string[]): Promise<string> =>
  one.docker("service", "create", "-d", "--no-resolve-image", "--name", name, ...options);

/** How long the same container takes from `docker service scale` until it answers, without anything of ours. */
async function startOfItsOwn(): Promise<number[]> {
  const publish = "published=39999,target=8080,mode=host";
  const options = ["--replicas=0", "--env=SERVICE_IGNORE=true", "--constraint=node.hostname==one"];
  await create("plain", ...options, `--publish=${publish}`, await imageOf("nap"));
  // Only from its own machine: the firewall lets nobody else in.
  const answered = `
    const attempt = () => fetch("http://127.0.0.1:39999/").then(() => console.log(Date.now()), () => setTimeout(attempt, 5));
    attempt();`;
  const times: number[] = [];
  for (let round = 0; round < 5; round++) {
    const answer = one.inNetwork("node", "-e", answered);
    await sleep(1_000);
    const start = Date.now();
    await one.docker("service", "scale", "-d", "plain=1");
    times.push(Number(await answer) - start);
    await one.docker("service", "scale", "-d", "plain=0");
    await sleep(12_000);
  }
  await one.docker("service", "rm", "plain");
  return times;
}

beforeAll(async () => {
  afterwards(removeMachines);
  await bootMachines(machines);
  afterwards(() => stack.remove());
  const hosts = machines.map(({ name, address, dockerHost }) => ({ name, address, docker: dockerHost }));
  stack.configure(services, { target: "hosts", hosts });
  succeeded(await stack.up());
});
afterAll(async () => {
  console.log(figures.join("\n"));
  await tearDown();
});

test("a day passes, and no request fails", async () => {
  const steady = machines.map((each) => startLoad(urlOf("web", each), { perSecond: 2 }));
  await untilDecided("web", ({ ready, replicas }) => ready === 2 && replicas === 2);

  // Morning: ten times as many requests, at the same load balancers.
  const spiked = Date.now();
  const spike = machines.map((each) => startLoad(urlOf("web", each), { perSecond: 18, connections: 32 }));
  const { said } = await untilDecided("web", ({ changes }) => changes.length > 0);
  note(`first decision after the spike: ${(Date.parse(said.changes[0]?.at ?? "") - spiked) / 1000} s`);
  const { by } = await untilDecided("web", ({ ready }) => ready >= 8);
  note(`8 instances ready after ${((Date.now() - spiked) / 1000).toFixed(1)} s`);
  succeeded(await stack.up("--expect-no-changes"));

  // The autoscaler that decides is killed.
  const leader = machines.find(({ name }) => name === by) ?? one;
  await leader.docker("kill", "autoscaler");
  const killed = Date.now();
  await untilDecided("web", (_, now) => now !== by, 90);
  note(`another decides ${((Date.now() - killed) / 1000).toFixed(1)} s after the first was killed`);
  await leader.docker("start", "autoscaler");

  // A service whose instances cannot start, made by hand.
  const range = { min: 1, max: 3, target: 1 };
  const labels = Object.entries(range).map(([key, value]) => `--label=switchyard.replicas.${key}=${value}`);
  await create("broken", ...labels, "--entrypoint=false", await imageOf("web"));
  await untilDecided("broken", ({ replicas, ready }) => replicas === 1 && ready === 0);
  await one.docker("service", "rm", "broken");

  // Consul is away for a while: what runs stays.
  const { said: before } = await untilDecided("web", ({ ready, replicas }) => ready === replicas);
  for (const each of machines) await each.docker("pause", "consul");
  await sleep(20_000);
  for (const each of machines) await each.docker("unpause", "consul");
  const { said: after } = await untilDecided("web", () => true, 90);
  expect(after.replicas).toBeGreaterThanOrEqual(before.replicas);

  // Noon: a service sleeps, and wakes for 200 requests at once.
  const wakes: number[] = [];
  for (let round = 0; round < 3; round++) {
    await asleep();
    wakes.push(median(await wake()));
  }
  await asleep();
  const { by: now } = await untilDecided("nap", () => true);
  const deciding = machines.find(({ name }) => name === now) ?? one;
  await deciding.docker("kill", "autoscaler");
  note(`woken although the autoscaler was just killed, after ${(median(await wake()) / 1000).toFixed(1)} s`);
  await deciding.docker("start", "autoscaler");

  // Evening: the load falls.
  const result = await Promise.all(spike.map((each) => each.stop()));
  const fell = Date.now();
  const most = (await untilDecided("web", () => true)).said.replicas;
  await untilDecided("web", ({ replicas }) => replicas <= most - 3, 900);
  note(`from ${most} instances to 3 fewer ${Math.round((Date.now() - fell) / 1000)} s after the load fell`);
  const results = [...result, ...(await Promise.all(steady.map((each) => each.stop())))];
  const starts = await startOfItsOwn();

  note(`200 requests wake a service: p50 of three rounds ${wakes.map((ms) => Math.round(ms)).join(", ")} ms`);
  note(`the container alone takes ${starts.map((ms) => Math.round(ms)).join(", ")} ms to start`);
  note(`${results.reduce((sum, { requests }) => sum + requests, 0)} requests to web, 800 to nap`);
  for (const { failures } of results) expect(failures).toEqual({});
});
