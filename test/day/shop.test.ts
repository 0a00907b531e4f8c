import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";

import { baseImage } from "../e2e/bases";
import { lines } from "../e2e/docker";
import { get, startLoad, until, type LoadResult } from "../e2e/http";
import { bootMachines, Machine, removeMachines } from "../e2e/machines";
import { scratch } from "../e2e/scratch";
import { clusterStack as stack, succeeded, type ServiceEntry } from "../e2e/stack";
import { afterwards, tearDown } from "../e2e/tear-down";

// A day of examples/shop on three machines: each part starts from the state that the previous one left. All the while `shop` and
// `shop/api` are asked at every machine that has power.

const machines = ["one", "two", "three"].map((name, index) => new Machine(name, index + 1));
/** The machine with the database's volume: the first that fits. */
const [home] = machines as [Machine];
const shopAt = ({ address }: Machine): string => `http://${address}/shop`;
const api = `${shopAt(home)}/api`;
/** A request waits while the database is away. */
const timeoutMs = 120_000;
const files = scratch();
const app = join(files.path, "app");

/** The example's services, built from a copy that the test changes, on the tests' base image. */
function services(): ServiceEntry[] {
  const text = readFileSync("examples/shop/Pulumi.shop.yaml", "utf8").replace("/srv/backups", scratch().path);
  const { config } = parse(text) as { config: Record<string, (ServiceEntry & { build: string })[]> };
  const entries = config["switchyard:services"] ?? [];
  return entries.map((entry) => ({
    ...entry,
    build: { context: entry.build.replace("./examples/shop", files.path), args: { BASE: baseImage } },
    ...(entry.name === "shop/worker" && { placement: { constraints: [`node.hostname!=${home.name}`] } }),
  }));
}

type Load = ReturnType<typeof startLoad>;
const loads = new Map<Machine, Load[]>();
const results: LoadResult[] = [];

function ask(machine: Machine): void {
  const urls = [shopAt(machine), `${shopAt(machine)}/api`];
  loads.set(
    machine,
    urls.map((url) => startLoad(url, { perSecond: 4, connections: 16, timeoutMs })),
  );
}

/** Settles once all requests have been answered. */
async function stopAsking(machine: Machine): Promise<void> {
  const stopped = loads.get(machine) ?? [];
  loads.delete(machine);
  results.push(...(await Promise.all(stopped.map((load) => load.stop()))));
}

let ordered = 0;
let repeated = 0;
/** Orders at a machine that has power. Who has got no answer orders again, under the same key. */
async function order(): Promise<void> {
  const body = JSON.stringify({ key: `k${ordered}`, item: "chair" });
  const options = { method: "POST", body };
  while ((await fetch(api, { ...options, signal: AbortSignal.timeout(timeoutMs) })).status !== 200)
    repeated++;
  ordered++;
}

async function counts(): Promise<{ orders: number; packed: number }> {
  return JSON.parse((await get(api, { timeout: timeoutMs })).body) as { orders: number; packed: number };
}

/** Orders without a pause while something happens. */
async function ordering<T>(work: () => Promise<T>): Promise<T> {
  const end = new AbortController();
  const orders = (async () => {
    while (!end.signal.aborted) await order();
  })();
  try {
    return await work();
  } finally {
    end.abort();
    await orders;
  }
}

/** The running containers of a service on machines. */
async function tasks(service: string, on: readonly Machine[] = machines): Promise<string[]> {
  const filter = `label=com.docker.swarm.service.name=${service}`;
  const found = await Promise.all(on.map((each) => each.docker("ps", "-q", "--filter", filter)));
  return found.flatMap(lines).sort();
}

const migration = (name: string, sql: string) => {
  writeFileSync(join(app, "migrations", name), sql);
};
const columns = async (): Promise<string> => {
  const [db = ""] = await tasks("db", [home]);
  const query =
    "select string_agg(column_name, ',' order by column_name) from information_schema.columns where table_name = 'orders'";
  return home.docker("exec", db, "psql", "-h", "/tmp", "-Atqc", query, "shop");
};

beforeAll(async () => {
  cpSync("examples/shop", files.path, { recursive: true });
  afterwards(removeMachines);
  await bootMachines(machines);
  afterwards(() => stack.remove());
  const hosts = machines.map(({ name, address, dockerHost }) => ({ name, address, docker: dockerHost }));
  stack.configure(services(), { target: "hosts", hosts });
  for (const name of ["db_password", "backup_password"])
    succeeded(await stack.setSecret(`secrets.${name}`, `${name} it's`));
  succeeded(await stack.up());
  for (let count = 0; count < 20; count++) await order();
  machines.forEach(ask);
}, 2_400_000);
afterAll(tearDown);

test("a second up changes nothing", async () => {
  succeeded(await stack.up("--expect-no-changes"));
});

test("every order is packed by the worker", async () => {
  await expect.poll(counts, { timeout: 60_000 }).toEqual({ orders: 20, packed: 20 });
});

test("the schema changes with a rollout", async () => {
  migration("2-note.sql", "alter table orders add column note text");
  const { output } = await ordering(async () => succeeded(await stack.up()));
  expect(output).toContain("applies 2-note.sql");
  expect(await columns()).toBe("item,key,note,packed");
});

test("a migration that fails changes nothing", async () => {
  const before = await tasks("shop-api");
  migration("3-wrong.sql", "alter table orders drop column note; alter table ordres add column x text");
  const { code, output } = await ordering(() => stack.up());
  expect(code).not.toBe(0);
  expect(output).toContain('relation "ordres" does not exist');
  expect(await tasks("shop-api")).toEqual(before);
  expect(await columns()).toBe("item,key,note,packed");
});

test("taking the change back is an up like any other", async () => {
  rmSync(join(app, "migrations", "3-wrong.sql"));
  await ordering(async () => succeeded(await stack.up()));
  succeeded(await stack.up("--expect-no-changes"));
});

test("a job tells what it has seen", async () => {
  const { code, output } = await stack.run("shop/report");
  expect(code).toBe(0);
  expect(output).toContain(`${ordered} orders`);
});

test("the worker's machine loses its power: another packs what is ordered meanwhile, and no request fails elsewhere", async () => {
  expect(repeated).toBe(0);
  const on = await Promise.all(machines.map((each) => tasks("shop-worker", [each])));
  const lost = machines[on.findIndex((found) => found.length > 0)] ?? home;
  expect(lost).not.toBe(home);
  await stopAsking(lost);
  const others = machines.filter((each) => each !== lost);
  const started = Date.now();
  await lost.kill();
  await ordering(async () => {
    await expect.poll(() => tasks("shop-worker", others), { timeout: 180_000 }).toHaveLength(1);
    await sleep(5_000);
  });
  await expect.poll(counts, { timeout: 60_000 }).toEqual({ orders: ordered, packed: ordered });
  console.log(
    `all ${ordered} orders packed ${(Date.now() - started) / 1000} s after the power went, ${repeated} repeated`,
  );
  const answered = others.map(stopAsking);
  others.forEach(ask);
  // While it has no power, so that nothing of it answers.
  await Promise.all(answered);
  console.log(`all requests answered ${(Date.now() - started) / 1000} s after the power went`);
  await lost.start();
  await until(shopAt(lost), ({ status }) => status === 200, { seconds: 120 });
  ask(lost);
  succeeded(await stack.up("--expect-no-changes"));
  repeated = 0;
});

test("a database that is lost comes back row for row, and no request fails meanwhile", async () => {
  // The job itself, as at night.
  expect((await stack.run("db-backup")).code).toBe(0);
  const before = await counts();
  const data = await home.docker("volume", "inspect", "-f", "{{.Mountpoint}}", "cluster_data");
  await home.docker("service", "scale", "-d", "db=0");
  await expect.poll(() => tasks("db"), { timeout: 60_000 }).toEqual([]);
  rmSync(join(data, "data"), { recursive: true });
  await home.docker("service", "scale", "-d", "db=1");
  succeeded(await stack.restore("db", "--yes"));
  expect(await counts()).toEqual(before);
  await order();
  expect(repeated).toBe(0);
});

test("all requests of the day were answered", async () => {
  await Promise.all(machines.map(stopAsking));
  const requests = results.reduce((sum, each) => sum + each.requests, 0);
  console.log(`${requests} requests, ${ordered} orders`, JSON.stringify(results));
  for (const { failures } of results) expect(failures).toEqual({});
});
