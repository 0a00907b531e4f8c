import { chmodSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test, vi } from "vitest";

import { serviceProvider, type SwarmServiceInputs, type SwarmServiceState } from "../../providers/swarm-service/provider"; // prettier-ignore
import type { JobStatus } from "../../routing/jobs/status";
import { encodeFigures } from "../../routing/scaling/figures";
import { scalingKeys } from "../../routing/scaling/keys";
import type { LimitsStatus } from "../../routing/scaling/limits-status";
import { parseStatus, type ScaledServiceStatus } from "../../routing/scaling/status";
import { addUse, newUsage, storeUsage } from "../../templates/autoscaler/src/vertical/usage";
import { ConsulAlone } from "./balancer";
import { baseImage } from "./bases";
import { docker, removeContainers, tasks } from "./docker";
import { buildImage } from "./images";
import { measuredSocket, cgroup } from "./measured";
import { scratch } from "./scratch";
import { run } from "./stack";
import { afterwards, tearDown } from "./tear-down";

// The autoscaler's image alone, with a real Consul and a real Swarm. The test writes what load balancers would, and registers
// what Registrator would.

const name = "as-t";
const port = 28_600;
/** No measure of anything: the machine may be busy, and a lost lock is back after 35 s at the latest. */
const longMs = 90_000;
const files = scratch();
const autoscalers = [`${name}-1`, `${name}-2`] as const;
let consul: ConsulAlone;
let image: string;

const labels = (more: Readonly<Record<string, string>> = {}) =>
  Object.entries({ "replicas.min": "1", "replicas.max": "5", "replicas.target": "10", ...more }).flatMap(
    ([key, value]) => ["--label", `switchyard.${key}=${value}`],
  );

/** A Swarm service whose instances do nothing. */
async function service(title: string, args: readonly string[]): Promise<void> {
  afterwards(() => run("docker", ["service", "rm", title]));
  const registers = ["--container-label", `SERVICE_NAME=${title}`, "--container-label", "SERVICE_TAGS=rest"];
  const publish = ["--publish", "mode=host,target=80"];
  const flags = ["-d", "--name", title, "--stop-grace-period", "0s", "--no-resolve-image"];
  await docker("service", "create", ...flags, ...registers, ...publish, ...args, baseImage, "sleep", "1d");
}

const replicas = async (title: string): Promise<number> =>
  Number(await docker("service", "inspect", "-f", "{{.Spec.Mode.Replicated.Replicas}}", title));

/** What a load balancer has to do for each service, written every 500 ms as if by one on the Consul's node. */
const load = new Map<string, number>();
let sequence = 1;
function writeFigures(): void {
  const services = new Map(
    [...load].map(([title, concurrent]) => [title, { concurrent, queued: 0, held: 0, rate: concurrent, errors: 0 }]),
  ); // prettier-ignore
  const text = encodeFigures({ sequence: sequence++, index: 999_999_999, services });
  consul.put(`kv/${scalingKeys.figures}${name}`, text).catch(() => undefined);
}

async function kv(key: string): Promise<string | undefined> {
  const response = await fetch(`http://${consul.address}/v1/kv/${key}?raw`);
  return response.ok ? response.text() : undefined;
}

async function status(title: string): Promise<ScaledServiceStatus | undefined> {
  const read = parseStatus((await kv(scalingKeys.status)) ?? "");
  return read.ok ? read.value.services.find((each) => each.name === title) : undefined;
}

async function limits(title: string): Promise<LimitsStatus | undefined> {
  const read = parseStatus((await kv(scalingKeys.status)) ?? "");
  return read.ok ? read.value.limits?.find((each) => each.name === title) : undefined;
}

async function jobStatus(title: string): Promise<JobStatus | undefined> {
  const read = parseStatus((await kv(scalingKeys.status)) ?? "");
  return read.ok ? read.value.jobs?.find((each) => each.name === title) : undefined;
}

async function startAutoscaler(node: string, adminPort: number): Promise<void> {
  const guards = ["--network=host", "--read-only", "--cap-drop=ALL", "--memory=128m", "-v", `${files.path}:/run/narrow:ro`]; // prettier-ignore
  afterwards(() => removeContainers(node));
  const options = [`--node=${node}`, `--consul=${consul.address}`, "--swarm=/run/narrow/docker.sock", `--admin=127.0.0.1:${adminPort}`]; // prettier-ignore
  const socket = ["-e", "DOCKER_HOST=unix:///run/narrow/measured.sock"];
  await docker("run", "-d", "--name", node, ...guards, ...socket, image, ...options);
}

const mebibyte = 1024 ** 2;

/** A service that `up` makes, with automatic limits. It needs 200 MiB when it finds a file. */
const hungry: SwarmServiceInputs = {
  host: "unix:///var/run/docker.sock",
  name: "hungry",
  owner: "test/e2e",
  image: baseImage,
  args: ["sh", "-c", "until [ -e /tmp/eat ]; do sleep 0.2; done; head -c 200m /dev/zero | tail"],
  labels: { SERVICE_NAME: "hungry", "switchyard.memory.max": "512m", "switchyard.cpus.max": "1" },
  serviceLabels: { "switchyard.memory.max": "512m", "switchyard.cpus.max": "1" },
  limits: { memoryBytes: { min: 16 * mebibyte, max: 512 * mebibyte }, cpus: { min: 0.01, max: 1 } },
  stopGracePeriodSeconds: 1,
};
let made: SwarmServiceState;

/** Three days in which an instance used 40 MiB and a tenth of a core. */
function known(): string {
  const sinceMs = Date.now() - 3 * 86_400_000;
  let usage = newUsage(sinceMs);
  for (let minute = 0; minute < 3 * 1440; minute++)
    usage = addUse(usage, [{ cores: 0.1, memoryBytes: 40 * mebibyte }], sinceMs + minute * 60_000);
  return storeUsage(usage);
}

interface Limits {
  readonly id: string;
  readonly memory: number;
  readonly swap: number;
  readonly nanoCpus: number;
}

/** The limits of a service's only instance, as Docker has them. */
async function limitsOf(title: string): Promise<Limits> {
  const [id = ""] = await tasks(title);
  const format = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}}";
  const [memory = 0, swap = 0, nanoCpus = 0] = (await docker("inspect", "-f", format, id))
    .split(" ")
    .map(Number);
  return { id, memory, swap, nanoCpus };
}

const inSpec = async (title: string): Promise<unknown> =>
  JSON.parse(
    await docker("service", "inspect", "-f", "{{json .Spec.TaskTemplate.Resources.Limits}}", title),
  ) as unknown;

const leader = (): Promise<string | undefined> => kv(scalingKeys.lock);

beforeAll(async () => {
  image = await buildImage("autoscaler", "switchyard/autoscaler:e2e");
  consul = await ConsulAlone.start({ name, port });
  const { code } = await run("docker", ["swarm", "init", "--advertise-addr", "127.0.0.1"]);
  if (code === 0) afterwards(() => docker("swarm", "leave", "--force"));
  chmodSync(files.path, 0o755);
  afterwards(() => removeContainers(`${name}-docker`));
  await measuredSocket(join(files.path, "measured.sock"));
  const guards = ["--network=none", "--user=0", "--read-only", "--cap-drop=ALL", "-v", `${files.path}:/run/narrow`]; // prettier-ignore
  const options = ["--listen=/run/narrow/docker.sock", "--engine=/run/narrow/measured.sock"];
  await docker("run", "-d", "--name", `${name}-docker`, ...guards, image, "docker", ...options);
  const timer = setInterval(writeFigures, 500);
  afterwards(() => {
    clearInterval(timer);
  });
  const { id, outs } = await serviceProvider.create(hungry);
  if (outs === undefined) throw new Error(`${id} has no state`);
  made = outs;
  afterwards(() => run("docker", ["service", "rm", hungry.name]));
  await consul.put(`kv/${scalingKeys.history}${hungry.name}`, known());
  await service("steady", labels({ "replicas.min": "2" }));
  await startAutoscaler(autoscalers[0], port + 6);
  await startAutoscaler(autoscalers[1], port + 7);
  await vi.waitFor(async () => {
    expect((await status("steady"))?.replicas).toBe(2);
  }, longMs);
});
afterAll(tearDown);

/** The instance of {@link hungry} before it had limits, and those that it has got. */
let first: Limits;

test("automatic limits are in force in the container that runs, and the service stays as it is", async () => {
  await vi.waitFor(async () => {
    first = await limitsOf(hungry.name);
    expect(first.memory).toBeGreaterThan(0);
    expect(first.nanoCpus).toBeGreaterThan(0);
  }, longMs);
  // 40 MiB and 15 %, as far as the buckets are exact.
  expect(first.memory).toBeGreaterThanOrEqual(46 * mebibyte);
  expect(first.memory).toBeLessThan(52 * mebibyte);
  expect(first.swap).toBe(2 * first.memory);
  // Docker records a limit before the kernel has it.
  const inKernel = () => cgroup(first.id, "memory", "memory.limit_in_bytes")?.trim();
  if (inKernel() !== undefined) await expect.poll(inKernel).toBe(String(first.memory));
  const all = await docker("service", "ps", "-q", hungry.name);
  expect(all.split("\n")).toHaveLength(1);
  expect(await inSpec(hungry.name)).toEqual({});
  await vi.waitFor(async () => {
    expect(await limits(hungry.name)).toMatchObject({ memory: { current: first.memory, auto: true } });
  }, longMs);
  // What up would find: nothing to change.
  const { props } = await serviceProvider.read?.(made.name, made) ?? {};
  expect(props).toEqual(made);
}); // prettier-ignore

test("an instance that runs out of memory has its limit raised", async () => {
  expect(first.memory).toBeGreaterThan(0);
  await docker("exec", first.id, "touch", "/tmp/eat");
  await vi.waitFor(async () => {
    const next = await limitsOf(hungry.name);
    expect(next.id).not.toBe(first.id);
    expect(next.memory).toBeGreaterThanOrEqual(first.memory + 100 * mebibyte);
    expect(next.swap).toBe(2 * next.memory);
  }, longMs);
  expect((await limits(hungry.name))?.reason).toContain("an instance ran out of memory");
});

test(
  "the next rollout writes the limits into the service",
  async () => {
    const { memory, nanoCpus } = await limitsOf(hungry.name);
    await serviceProvider.update?.(made.name, made, { ...hungry, env: { A: "1" } });
    expect(await inSpec(hungry.name)).toEqual({ NanoCPUs: nanoCpus, MemoryBytes: memory });
    const next = await limitsOf(hungry.name);
    expect([next.memory, next.nanoCpus]).toEqual([memory, nanoCpus]);
    await docker("service", "rm", hungry.name);
    await vi.waitFor(async () => {
      expect(await kv(`${scalingKeys.history}${hungry.name}`)).toBeUndefined();
    }, longMs);
  },
  longMs,
);

test("a job runs at its time, not when it is made or changed, and its end is told of", async () => {
  const hourAgo = new Date(Date.now() - 3_600_000);
  const cron = `${hourAgo.getUTCMinutes()} ${hourAgo.getUTCHours()} * * *`;
  const job: SwarmServiceInputs = {
    host: hungry.host,
    name: "report",
    owner: "test/e2e",
    image: baseImage,
    args: ["sh", "-c", "echo it is $A; exit 3"],
    env: { A: "1" },
    labels: { SERVICE_NAME: "shop/report", SERVICE_IGNORE: "true" },
    serviceLabels: { "switchyard.schedule": cron, "switchyard.schedule.deadline": "2h" },
    restartPolicy: { condition: "none" },
    updateConfig: { order: "stop-first", failureAction: "continue", monitorSeconds: 0.001 },
  };
  const { id, outs } = await serviceProvider.create(job);
  afterwards(() => run("docker", ["service", "rm", id]));
  if (outs === undefined) throw new Error(`${id} has no state`);
  await vi.waitFor(async () => {
    expect(await jobStatus("shop/report")).toMatchObject({ schedule: cron, runs: [] });
  }, longMs);
  // What was due an hour ago was missed, and is made up.
  const record = { schedule: `${cron} UTC`, handled: "2026-01-01T00:00:00.000Z", finished: 0, runs: [] };
  await vi.waitFor(async () => {
    const { runs = [] } = (await jobStatus("shop/report")) ?? {};
    if (runs.length === 0) await consul.put(`kv/${scalingKeys.jobs}report`, JSON.stringify(record));
    expect(runs).toMatchObject([{ result: "failed", exitCode: 3, due: expect.any(String) as string }]);
  }, { timeout: longMs, interval: 500 });
  const ran = (): Promise<string[]> =>
    docker("service", "ps", "-q", "--no-trunc", "report").then((text) => text.split("\n"));
  const runs = await ran();
  expect(runs).toHaveLength(1);
  expect(await docker("service", "logs", "--raw", "report")).toBe("it is 1");
  const { props } = (await serviceProvider.read?.(id, outs)) ?? {};
  expect(props).toEqual(outs);
  await serviceProvider.update?.(id, outs, { ...job, env: { A: "2" } });
  expect([await ran(), await replicas("report")]).toEqual([runs, 0]);
  await docker("service", "rm", "report");
}, longMs); // prettier-ignore

test("the spec stays as it is, but for the number of replicas, which a range puts right at once", async () => {
  const spec = async (): Promise<Record<string, unknown>> =>
    JSON.parse(await docker("service", "inspect", "-f", "{{json .Spec}}", "other")) as Record<
      string,
      unknown
    >;
  await service("other", ["--replicas", "2", "--limit-memory", "32m", "--env", "A=b"]);
  const before = await spec();
  await docker("service", "update", "-d", ...labels({ "replicas.min": "3" }).map((each) => each.replace(/^--label$/, "--label-add")), "other"); // prettier-ignore
  await vi.waitFor(async () => {
    expect(await replicas("other")).toBe(3);
  }, longMs);
  const after = await spec();
  expect({ ...after, Labels: {}, Mode: {} }).toEqual({ ...before, Labels: {}, Mode: {} });
  await docker("service", "rm", "other");
});

test("a spike gets more instances, and the status says why", async () => {
  load.set("steady", 100);
  const startMs = Date.now();
  await vi.waitFor(
    async () => {
      expect(await replicas("steady")).toBeGreaterThan(2);
    },
    { timeout: longMs, interval: 50 },
  );
  console.log(`the first decision came ${Date.now() - startMs} ms after the spike`);
  await vi.waitFor(async () => {
    expect((await status("steady"))?.replicas).toBe(5);
  }, longMs);
  const { changes, reason } = (await status("steady")) ?? {};
  expect(changes).toContainEqual(expect.objectContaining({ from: 2 }));
  expect(reason).toContain("concurrent, target 10 at 70 %");
  load.delete("steady");
});

test("tasks that wait for room are told of, and get no company", async () => {
  await service("large", [...labels(), "--reserve-memory", "900g"]);
  load.set("large", 100);
  await vi.waitFor(async () => {
    expect((await status("large"))?.reason).toContain("wait");
  }, longMs);
  const text = (await kv(scalingKeys.status)) ?? "";
  expect(JSON.parse(text)).toMatchObject({ nodesWanted: expect.any(Number) as number });
  expect((await status("large"))?.waiting).toBeGreaterThan(0);
  expect(await replicas("large")).toBe(1);
  load.delete("large");
  await docker("service", "rm", "large");
});

test("a service sleeps once its record is in force, and wakes when it is wanted", async () => {
  const sleeper = ["--label", "switchyard.replicas.idle=10s"];
  await service("sleeper", [...labels({ "replicas.min": "0" }), ...sleeper]);
  await consul.register("sleeper", port + 9, { Meta: { host: "api.example.com" } });
  await vi.waitFor(async () => {
    expect(await replicas("sleeper")).toBe(0);
  }, longMs);
  const record = JSON.parse((await kv(`${scalingKeys.sleeping}sleeper`)) ?? "") as unknown;
  expect(record).toEqual({ tags: ["rest"], meta: { host: "api.example.com" } });
  await consul.deregister("sleeper", port + 9);
  await vi.waitFor(async () => {
    expect((await status("sleeper"))?.asleep).toBe(true);
  }, longMs);

  load.set("sleeper", 1);
  const startMs = Date.now();
  await consul.put(`kv/${scalingKeys.wanted}sleeper?cas=0`, name);
  await vi.waitFor(
    async () => {
      expect(await replicas("sleeper")).toBe(1);
    },
    { timeout: longMs, interval: 20 },
  );
  console.log(`it was woken ${Date.now() - startMs} ms after it was wanted`);
  // Until an instance has the routes.
  expect(await kv(`${scalingKeys.sleeping}sleeper`)).toBeDefined();
  await consul.register("sleeper", port + 9);
  await vi.waitFor(async () => {
    expect(await kv(`${scalingKeys.sleeping}sleeper`)).toBeUndefined();
    expect(await kv(`${scalingKeys.wanted}sleeper`)).toBeUndefined();
  }, longMs);
});

/** Asks for a change that only an autoscaler makes. */
const raise = (min: number) =>
  docker("service", "update", "-d", "--label-add", `switchyard.replicas.min=${min}`, "calm");

test("without Consul nothing changes, and afterwards what is due does", async () => {
  await service("calm", labels({ "replicas.min": "2" }));
  await vi.waitFor(async () => {
    expect(await replicas("calm")).toBe(2);
  }, longMs);
  const { container } = consul;
  afterwards(() => run("docker", ["unpause", container]));
  await docker("pause", container);
  await vi.waitFor(async () => {
    const ready = await Promise.all([6, 7].map((more) => fetch(`http://127.0.0.1:${port + more}/ready`)));
    expect(ready.map((each) => each.status)).toEqual([503, 503]);
  }, longMs);
  await raise(3);
  await sleep(3_000);
  expect(await replicas("calm")).toBe(2);
  await docker("unpause", container);
  await vi.waitFor(async () => {
    expect(await replicas("calm")).toBe(3);
  }, longMs);
});

test("another one takes over from a leader that stops, and a leader that is killed goes on when it is back", async () => {
  await vi.waitFor(async () => {
    expect(await leader()).toBeDefined();
  }, longMs);
  const first = (await leader()) ?? "";
  const second = autoscalers.find((each) => each !== first) ?? "";
  await docker("stop", first);
  await vi.waitFor(async () => {
    expect(await leader()).toBe(second);
  }, longMs);
  await raise(4);
  await vi.waitFor(async () => {
    expect(await replicas("calm")).toBe(4);
  }, longMs);

  await docker("kill", second);
  await docker("start", second);
  await raise(5);
  await vi.waitFor(async () => {
    expect(await replicas("calm")).toBe(5);
  }, longMs);
  expect((await status("calm"))?.changes.length).toBeGreaterThan(2);
});
