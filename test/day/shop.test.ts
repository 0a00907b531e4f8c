import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";

import { baseImage } from "../e2e/bases";
import { claimEngineUntilRemoved, docker, tasks } from "../e2e/docker";
import { get, startLoad } from "../e2e/http";
import { scratch } from "../e2e/scratch";
import { stack, succeeded, type ServiceEntry } from "../e2e/stack";
import { afterwards, tearDown } from "../e2e/tear-down";

// A day of examples/shop on one machine: each part starts from the state that the previous one left. All the while `shop` and
// `shop/api` are asked.

const shop = "http://localhost/shop";
const api = `${shop}/api`;
/** A request waits while the database is away. */
const patience = { perSecond: 10, connections: 64, timeoutMs: 120_000 };
const files = scratch();
const app = join(files.path, "app");
const folder = "e2e-shop-backups";
let loads: ReturnType<typeof startLoad>[] = [];

/** The example's services, built from a copy that the test changes, on the tests' base image. */
async function services(): Promise<ServiceEntry[]> {
  await docker("volume", "create", folder);
  afterwards(() => docker("volume", "rm", folder));
  const to = await docker("volume", "inspect", "-f", "{{.Mountpoint}}", folder);
  const text = readFileSync("examples/shop/Pulumi.shop.yaml", "utf8").replace("/srv/backups", to);
  const { config } = parse(text) as { config: Record<string, (ServiceEntry & { build: string })[]> };
  const entries = config["switchyard:services"] ?? [];
  return entries.map((entry) => ({
    ...entry,
    build: { context: entry.build.replace("./examples/shop", files.path), args: { BASE: baseImage } },
  }));
}

let ordered = 0;
async function order(): Promise<void> {
  const body = JSON.stringify({ key: `k${ordered}`, item: "chair" });
  const response = await fetch(api, { method: "POST", body, signal: AbortSignal.timeout(120_000) });
  expect(response.status, `order ${ordered}`).toBe(200);
  ordered++;
}

async function counts(): Promise<{ orders: number; packed: number }> {
  return JSON.parse((await get(api, { timeout: 120_000 })).body) as { orders: number; packed: number };
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

const migration = (name: string, sql: string) => {
  writeFileSync(join(app, "migrations", name), sql);
};
const columns = async (): Promise<string> => {
  const [db = ""] = await tasks("db");
  const query =
    "select string_agg(column_name, ',' order by column_name) from information_schema.columns where table_name = 'orders'";
  return docker("exec", db, "psql", "-h", "/tmp", "-Atqc", query, "shop");
};

beforeAll(async () => {
  cpSync("examples/shop", files.path, { recursive: true });
  await claimEngineUntilRemoved(() => stack.remove());
  afterwards(() => stack.down("--volumes"));
  stack.configure(await services());
  for (const name of ["db_password", "backup_password"])
    succeeded(await stack.setSecret(`secrets.${name}`, `${name} it's`));
  succeeded(await stack.up());
  for (let count = 0; count < 20; count++) await order();
  loads = [shop, api].map((url) => startLoad(url, patience));
}, 1_200_000);
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

test("a worker that is lost is replaced, and packs what was ordered meanwhile", async () => {
  const [worker = ""] = await tasks("shop-worker");
  await docker("kill", worker);
  await ordering(() => sleep(2_000));
  await expect.poll(counts, { timeout: 60_000 }).toEqual({ orders: ordered, packed: ordered });
});

test("a database that is lost comes back row for row, and no request fails meanwhile", async () => {
  // The job itself, as at night.
  expect((await stack.run("db-backup")).code).toBe(0);
  const before = await counts();
  const data = await docker("volume", "inspect", "-f", "{{.Mountpoint}}", "e2e_data");
  await docker("service", "scale", "-d", "db=0");
  await expect.poll(() => tasks("db"), { timeout: 60_000 }).toEqual([]);
  rmSync(join(data, "data"), { recursive: true });
  await docker("service", "scale", "-d", "db=1");
  succeeded(await stack.restore("db", "--yes"));
  expect(await counts()).toEqual(before);
  await order();
});

test("all requests of the day were answered", async () => {
  const results = await Promise.all(loads.map((load) => load.stop()));
  console.log(JSON.stringify(results), `${ordered} orders`);
  for (const { failures } of results) expect(failures).toEqual({});
});
