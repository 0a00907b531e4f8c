import { setTimeout as sleep } from "node:timers/promises";

import { get, startLoad, type LoadResult } from "../test/e2e/http";
import { balancers, footnote, type Balancer } from "./balancers";
import { cleanUp, type Container } from "./containers";
import { ChurnInstance, OpenWebsocket } from "./instances";
import {
  benchmark,
  roomForConnections,
  listOption,
  numberOption,
  table,
  verdicts,
  writeSection,
  type Verdict,
} from "./lib";
import { ports } from "./ports";
import { untilStatus } from "./probe";
import { Registry } from "./registry";

// (c) What users notice of changes: failed requests and broken websockets while instances and services come and go.

const changes = numberOption("changes", 1_000);
const newServices = numberOption("services", 100);
const only = listOption("only", []);
const perSecond = 20;
const services = 10;
const instancesEach = 3;
const websocketsEach = 2;
/** How long an instance keeps running after its deregistration, like a container between its stop signal and its end. */
const lingerMs = 2_000;

class Fleet {
  private readonly free = Array.from({ length: 800 }, (_, index) => ports.instances + index);
  readonly running = new Map<string, ChurnInstance[]>();

  constructor(private readonly registry: Registry) {}

  async add(service: string): Promise<void> {
    const port = this.free.shift();
    if (port === undefined) throw new Error("too few ports");
    const instance = await ChurnInstance.start(port);
    this.running.set(service, [...(this.running.get(service) ?? []), instance]);
    await this.registry.register(at(service, port));
  }

  /** Removes the second oldest instance: the oldest has the websockets and stays. */
  async remove(service: string, which = 1): Promise<void> {
    const all = this.running.get(service) ?? [];
    const instance = all[which];
    if (instance === undefined) throw new Error(`${service} has no instance ${which}`);
    this.running.set(
      service,
      all.filter((each) => each !== instance),
    );
    await this.registry.deregister(at(service, instance.port));
    void sleep(lingerMs)
      .then(() => instance.stop())
      .then(() => this.free.push(instance.port));
  }

  killAll(): void {
    for (const instance of [...this.running.values()].flat()) instance.kill();
  }
}

const at = (name: string, port: number) => ({ name, address: "127.0.0.1", port, node: `node-${port % 5}` });

interface Outcome {
  readonly load: LoadResult;
  readonly seconds: number;
  readonly broken: string[];
  readonly websockets: number;
  readonly newAnswered: number;
  readonly reloads: string;
}

/** Sends constant requests to all services at once and adds up the results. */
function loadAll(names: readonly string[], total: number): { stop(): Promise<LoadResult> } {
  const loads = names.map((name) =>
    startLoad(`http://127.0.0.1:${ports.traffic}/${name}`, {
      perSecond: total / names.length,
      connections: 4,
    }),
  );
  return {
    async stop() {
      const results = await Promise.all(loads.map((load) => load.stop()));
      const failures: Record<string, number> = {};
      for (const [what, times] of results.flatMap((result) => Object.entries(result.failures)))
        failures[what] = (failures[what] ?? 0) + times;
      return {
        failures,
        requests: results.reduce((sum, { requests }) => sum + requests, 0),
        perSecond: results.reduce((sum, each) => sum + each.perSecond, 0),
      };
    },
  };
}

async function churn(fleet: Fleet, names: readonly string[]): Promise<number> {
  const every = Math.max(1, Math.floor(changes / (2 * newServices)));
  let answered = 0;
  const fresh: string[] = [];
  const checks: Promise<void>[] = [];
  const started = performance.now();
  for (let change = 0; change < changes; change++) {
    const service = names[Math.floor(change / 2) % names.length] ?? "";
    if (change % 2 === 0) await fleet.add(service);
    else await fleet.remove(service);
    if (change % every === 0) {
      const index = change / every;
      if (index % 2 === 0 && index / 2 < newServices) {
        const name = `fresh-${index / 2}`;
        fresh.push(name);
        await fleet.add(name);
        const found = untilStatus(ports.traffic, `/${name}`, 200, 5).then((moment) => {
          if (moment !== undefined) answered++;
        });
        checks.push(found);
      } else if (fresh.length > 2) await fleet.remove(fresh.shift() ?? "", 0);
    }
    await sleep(Math.max(0, started + ((change + 1) * 1000) / perSecond - performance.now()));
  }
  for (const name of fresh) await fleet.remove(name, 0);
  await Promise.all(checks);
  return answered;
}

async function measure(balancer: Balancer, registry: Registry): Promise<Outcome> {
  await roomForConnections();
  const fleet = new Fleet(registry);
  const names = Array.from({ length: services }, (_, index) => `busy-${index}`);
  let container: Container | undefined;
  const websockets: OpenWebsocket[] = [];
  try {
    for (const name of names) for (let count = 0; count < instancesEach; count++) await fleet.add(name);
    container = await balancer.start(registry.address);
    for (const name of names)
      if ((await untilStatus(ports.traffic, `/${name}`, 200, 30)) === undefined)
        throw new Error(`${balancer.name} does not route /${name}: ${await container.logs()}`);
    await sleep(2_000);
    await openWebsockets(fleet, registry, names, websockets);
    const load = loadAll(names, 600);
    const started = performance.now();
    const newAnswered = await churn(fleet, names);
    await sleep(lingerMs + 500);
    const seconds = (performance.now() - started) / 1000;
    return {
      load: await load.stop(),
      seconds,
      websockets: websockets.length,
      broken: websockets.flatMap(({ broken }) => broken ?? []),
      newAnswered,
      reloads: await reloads(balancer, container),
    };
  } finally {
    for (const websocket of websockets) websocket.close();
    for (const name of names)
      for (const { port } of fleet.running.get(name) ?? []) await registry.deregister(at(name, port));
    fleet.killAll();
    await container?.stop();
  }
}

/** Opens websockets to the instances that stay: meanwhile, Consul has only the first instance of each service. */
async function openWebsockets(
  fleet: Fleet,
  registry: Registry,
  names: readonly string[],
  websockets: OpenWebsocket[],
): Promise<void> {
  const others = names.flatMap((name) =>
    (fleet.running.get(name) ?? []).slice(1).map(({ port }) => at(name, port)),
  );
  for (const other of others) await registry.deregister(other);
  await sleep(2_000);
  for (const name of names)
    for (let count = 0; count < websocketsEach; count++)
      websockets.push(await OpenWebsocket.open(ports.traffic, `/${name}`));
  for (const other of others) await registry.register(other);
  await sleep(2_000);
}

async function reloads(balancer: Balancer, container: Container): Promise<string> {
  if (balancer.name === "Switchyard") {
    const { status, body } = await get(`http://127.0.0.1:${ports.traffic + 2}/metrics`);
    const all = [...body.matchAll(/^switchyard_reloads_total\{reason="([^"]*)"\} (\d+)$/gm)];
    // Every reason exists from the start, with 0. No reason at all means that there was no answer.
    if (status !== 200 || all.length === 0)
      throw new Error(`cannot read Switchyard's reloads: /metrics answered ${status} ${body.slice(0, 80)}`);
    const counts = all.filter(([, , count]) => count !== "0");
    const total = counts.reduce((sum, [, , count]) => sum + Number(count), 0);
    return counts.length === 0
      ? "0"
      : `${total} (${counts.map(([, reason, count]) => `${reason ?? ""}: ${count ?? ""}`).join(", ")})`;
  }
  return balancer.name.includes("HAProxy")
    ? String(await container.count(/Reloading HAProxy/))
    : "none needed";
}

async function main(): Promise<void> {
  const { here, missing } = await balancers();
  const registry = await Registry.start();
  const rows: string[][] = [];
  const judged: Verdict[] = [];
  for (const balancer of here.filter(({ name }) => only.length === 0 || only.includes(name))) {
    const outcome = await measure(balancer, registry);
    const failures = Object.entries(outcome.load.failures);
    const failed = failures.reduce((sum, [, times]) => sum + times, 0);
    rows.push([
      balancer.name,
      outcome.load.requests.toLocaleString("en-US"),
      String(outcome.load.perSecond),
      failed === 0 ? "0" : `${failed} (${failures.map(([what, times]) => `${times} × ${what}`).join(", ")})`,
      outcome.reloads,
      `${outcome.broken.length} of ${outcome.websockets}`,
      `${outcome.newAnswered} of ${newServices}`,
      outcome.seconds.toFixed(0),
    ]);
    if (balancer.name === "Switchyard")
      judged.push(
        { target: "0 failed requests", measured: String(failed), met: failed === 0 },
        { target: "0 reloads", measured: outcome.reloads, met: outcome.reloads === "0" },
        {
          target: "0 broken websockets",
          measured: String(outcome.broken.length),
          met: outcome.broken.length === 0,
        },
      );
    console.log(rows.at(-1)?.join(" | "));
  }
  writeSection(
    "(c) Changes under load",
    `${changes.toLocaleString("en-US")} changes of instances, ${perSecond} each second, of ${services} services with ${instancesEach} instances each, and ${newServices} new services that are removed again.
An instance that leaves is deregistered from Consul and exits ${lingerMs / 1000} s later.
Each websocket sends a message five times a second. It counts as broken if it is closed or gets no echo for 2 s.

${table(["", "requests", "per second", "failed", "reloads", "websockets broken", "new services that answered within 5 s", "seconds"], rows)}

${verdicts(judged)}

${footnote(here, missing)}`,
  );
}

benchmark(main, cleanUp);
