import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as immediate, setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Catalog, Routing } from "../../../../routing/build";
import type { Applied } from "./reconciler";
import { Controller } from "./controller";
import { Metrics } from "../metrics";
import { readSnapshot, writeSnapshot } from "../consul/snapshot";
import type { Missing } from "../consul/watcher";

const catalog = (...services: string[]): Catalog => ({
  instances: services.map((service, index) => ({
    service,
    id: service,
    node: "n",
    address: "10.0.0.1",
    port: index + 1,
    tags: ["rest"],
    meta: {},
    healthy: true,
  })),
  kv: {},
});

let folder: string;
let consul: { catalog: Catalog | undefined; index: number; missing: Missing };
let log: string[];
let apply: ReturnType<typeof vi.fn<(routing: Routing) => Promise<Applied>>>;
let controller: Controller;
const tcpPorts = new Set<number>();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "switchyard-"));
  consul = { catalog: catalog("a"), index: 1, missing: "services" };
  log = [];
  apply = vi.fn((routing: Routing) =>
    Promise.resolve({ done: { how: "operations", what: `${routing.backends.length}` }, pending: [] }),
  );
  controller = new Controller(
    {
      ownPorts: new Map(),
      holdTime: 60_000,
      holdShare: 0.5,
      snapshot: join(folder, "snapshot.json"),
      log: (message) => log.push(message),
      metrics: new Metrics(),
      down: () => new Set(),
    },
    {
      apply,
      compare: () => Promise.resolve(true),
      persist: () => Promise.resolve(),
      proven: new Set<string>(),
      tcpPorts,
    },
    () => ({
      catalog: () => consul.catalog,
      index: consul.index,
      connected: true,
      missing: consul.missing,
    }),
  );
});
afterEach(async () => {
  await controller.stop();
  rmSync(folder, { recursive: true });
});

const applied = () =>
  apply.mock.calls.map(([routing]) => routing.backends.map(({ service }) => service).join());

test("a burst of changes is applied once", async () => {
  for (let i = 0; i < 10; i++) controller.changed();
  await sleep(60);
  expect(applied()).toEqual(["a"]);
  expect(controller).toMatchObject({ synced: true, appliedIndex: 1 });
});

test("a change by itself that all of Consul has told of is not kept waiting", async () => {
  controller.changed();
  await immediate();
  expect(applied()).toEqual([]);
  consul.missing = "nothing";
  controller.advanced();
  await immediate();
  expect(applied()).toEqual(["a"]);
  // In a flurry it is.
  controller.changed();
  await immediate();
  expect(applied()).toEqual(["a"]);
  await vi.waitFor(() => {
    expect(applied()).toEqual(["a", "a"]);
  });
});

test("checks that may belong to it are waited for, but not for long", async () => {
  consul.missing = "checks";
  controller.changed();
  await immediate();
  expect(applied()).toEqual([]);
  await sleep(3);
  expect(applied()).toEqual(["a"]);
});

test("what comes while a change is being applied is applied after it, never beside it", async () => {
  let finish: () => void = () => undefined;
  apply.mockImplementationOnce(
    () =>
      new Promise(
        (resolve) =>
          (finish = () => {
            resolve({ done: { how: "start", what: "1" }, pending: [] });
          }),
      ),
  );
  controller.changed();
  await sleep(30);
  consul = { catalog: catalog("a", "b"), index: 2, missing: "services" };
  controller.changed();
  await sleep(80);
  expect(applied()).toEqual(["a"]);
  finish();
  await vi.waitFor(() => {
    expect(applied()).toEqual(["a", "a,b"]);
  });
  await vi.waitFor(() => {
    expect(controller.appliedIndex).toBe(2);
  });
});

test("an index is in force only when what came with it is", async () => {
  controller.changed();
  await sleep(30);
  consul = { catalog: catalog("a", "b"), index: 5, missing: "services" };
  controller.changed();
  controller.advanced();
  expect(controller.appliedIndex).toBe(1);
  await sleep(60);
  expect(controller.appliedIndex).toBe(5);
  consul.index = 9;
  controller.advanced();
  expect(controller.appliedIndex).toBe(9);
  expect(apply).toHaveBeenCalledTimes(2);
});

test("what cannot be applied is said once and tried again; the last good state stays", async () => {
  controller.changed();
  await sleep(30);
  apply.mockRejectedValue(new Error("HAProxy would not"));
  consul = { catalog: catalog("a", "b"), index: 2, missing: "services" };
  controller.changed();
  await vi.waitFor(
    () => {
      expect(apply.mock.calls.length).toBeGreaterThanOrEqual(3);
    },
    { timeout: 3_000 },
  );
  expect(log.filter((line) => line.includes("HAProxy would not"))).toHaveLength(1);
  expect(controller.routing?.backends).toHaveLength(1);
  expect(controller.lastFailure).toBe("HAProxy would not");
  apply.mockResolvedValue({ done: { how: "operations", what: "2" }, pending: [] });
  controller.changed();
  await vi.waitFor(() => {
    expect(controller.routing?.backends).toHaveLength(2);
  });
  expect(controller.lastFailure).toBeUndefined();
});

test("what waits for a reload is not called in force, and says why", async () => {
  controller.changed();
  await sleep(30);
  const reason = "global settings changed (maxconn 4096 -> maxconn 5000)";
  apply.mockResolvedValue({ pending: [reason], failure: "HAProxy would not" });
  consul = {
    catalog: { ...catalog("a"), kv: { "service/haproxy/maxconn": "5000" } },
    index: 2,
    missing: "services",
  };
  controller.changed();
  await vi.waitFor(() => {
    expect(controller.pending).toEqual([reason]);
  });
  consul.index = 3;
  controller.advanced();
  expect(controller).toMatchObject({ appliedIndex: 1, lastFailure: "HAProxy would not" });
  // What has never been in force is not what a later mistake leaves in force.
  consul = {
    catalog: { ...catalog("a"), kv: { "service/haproxy/maxconn": "many" } },
    index: 4,
    missing: "services",
  };
  controller.changed();
  await vi.waitFor(() => {
    expect(apply.mock.lastCall?.[0].settings.maxconn).toBe(4096);
  });
  expect(log.filter((line) => line.includes("HAProxy would not"))).toHaveLength(1);
  apply.mockResolvedValue({ done: { how: "reload", what: reason }, pending: [] });
  controller.changed();
  await vi.waitFor(() => {
    expect(controller.appliedIndex).toBe(4);
  });
  expect(controller).toMatchObject({ pending: [], lastFailure: undefined });
});

test("the last good state is kept, and served from where Consul does not answer", async () => {
  controller.changed();
  await sleep(30);
  await controller.stop();
  expect(await readSnapshot(join(folder, "snapshot.json"))).toEqual(catalog("a"));
});

test("a value that cannot be used leaves the last good one in force, for the next process as well", async () => {
  const [pin, maxconn] = ["service/haproxy/versions/a", "service/haproxy/maxconn"];
  const versions = (values: Record<string, string>) => ({ ...catalog("a/v1", "a/v2"), kv: values });
  await writeSnapshot(
    join(folder, "snapshot.json"),
    versions({ [pin]: "v1", [maxconn]: "5000", "service/haproxy/versions/b": "v3" }),
  );
  await controller.start();
  consul.catalog = versions({ [pin]: "v1=50", [maxconn]: "many" });
  controller.changed();
  await sleep(60);
  const routing = apply.mock.lastCall?.[0];
  expect(routing?.settings.maxconn).toBe(5_000);
  expect(routing?.routes.find(({ path }) => path === "/a")?.targets).toMatchObject([{ service: "a/v1" }]);
  await controller.stop();
  expect((await readSnapshot(join(folder, "snapshot.json")))?.kv).toEqual({ [pin]: "v1", [maxconn]: "5000" });
});

test("before Consul answers, what was there last is routed, and not called synchronised", async () => {
  await writeSnapshot(join(folder, "snapshot.json"), catalog("kept"));
  consul.catalog = undefined;
  await controller.start();
  await vi.waitFor(
    () => {
      expect(applied()).toEqual(["kept"]);
    },
    { timeout: 4_000 },
  );
  expect(controller.synced).toBe(false);
});

test("what of Consul could not be read is refused like the rest", async () => {
  const problem = { level: "quarantined", subject: '".."', message: "Node is left out" } as const;
  consul.catalog = { ...catalog("a"), problems: [problem] };
  controller.changed();
  await sleep(60);
  expect(controller.routing?.problems).toEqual([problem]);
  expect(log).toContain("quarantined: Node is left out");
});
