import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as immediate, setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Catalog, Resolutions, Routing } from "../../../../routing/types";
import type { Turn } from "./turn";
import { Controller } from "./controller";
import { Metrics } from "../metrics";
import { instance } from "../testing";
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

const did = (what: string): Turn => ({ done: { how: "operations", what }, pending: [], again: false });

let folder: string;
let consul: { catalog: Catalog | undefined; index: number; kvIndex?: number; missing: Missing };
let log: string[];
let reconcile: ReturnType<typeof vi.fn<(routing: Routing, fromConsul?: boolean) => Promise<Turn>>>;
const depart = vi.fn<(routing: Routing) => Promise<void>>();
let isReloading = false;
let persist: ReturnType<typeof vi.fn<() => Promise<void>>>;
let controller: Controller;
const ports = new Set<number>();
let resolutions: Resolutions = new Map();
const settled = vi.fn(() => Promise.resolve());
const follow = vi.fn<(names: Iterable<string>) => boolean>(() => false);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "switchyard-"));
  consul = { catalog: catalog("a"), index: 1, missing: "services" };
  log = [];
  reconcile = vi.fn((routing: Routing) => Promise.resolve(did(`${routing.backends.length}`)));
  depart.mockReset().mockResolvedValue();
  isReloading = false;
  persist = vi.fn(() => Promise.resolve());
  controller = new Controller(
    {
      ownPorts: new Map(),
      retentionMs: 60_000,
      retentionShare: 0.5,
      snapshot: join(folder, "snapshot.json"),
      log: (message) => log.push(message),
      metrics: new Metrics(),
      down: () => new Set(),
      authorities: () => new Map(),
      names: {
        get resolutions() {
          return resolutions;
        },
        follow,
        settled,
        stop: () => undefined,
      },
    },
    {
      reconcile,
      depart,
      get isReloading() {
        return isReloading;
      },
      compare: () => Promise.resolve(true),
      persist: () => persist(),
      proven: new Set<string>(),
      ports,
    },
    () => ({
      catalog: () => consul.catalog,
      index: consul.index,
      kvIndex: consul.kvIndex ?? consul.index,
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
  reconcile.mock.calls.map(([routing]) => routing.backends.map(({ service }) => service).join());

test("a burst of changes takes one turn", async () => {
  for (let i = 0; i < 10; i++) controller.changed();
  await sleep(60);
  expect(applied()).toEqual(["a"]);
  expect(controller).toMatchObject({ synced: true, appliedIndex: 1 });
});

test("a single change about which Consul has nothing more to say does not wait", async () => {
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

test("a change waits for the checks that may belong to it, but not for long", async () => {
  consul.missing = "checks";
  controller.changed();
  await immediate();
  expect(applied()).toEqual([]);
  await sleep(3);
  expect(applied()).toEqual(["a"]);
});

test.each(["during", "just before"])(
  "instances that are gone %s a reload do not wait for its end",
  async (when) => {
    consul.catalog = catalog("a", "b", "c");
    let finish: (turn: Turn) => void = () => undefined;
    reconcile.mockImplementationOnce(() => new Promise((resolve) => (finish = resolve)));
    controller.changed();
    await vi.waitFor(() => {
      expect(applied()).toEqual(["a,b,c"]);
    });
    controller.replacing();
    isReloading = when === "during";
    consul.catalog = catalog("a", "b");
    controller.changed();
    if (when === "just before") {
      await sleep(100);
      expect(depart).not.toHaveBeenCalled();
      controller.replacing();
    }
    await vi.waitFor(() => {
      expect(depart).toHaveBeenCalledOnce();
    });
    expect(depart.mock.calls[0]?.[0].backends.map(({ service }) => service)).toEqual(["a", "b"]);
    expect(applied()).toEqual(["a,b,c"]);
    finish(did("reloaded"));
    await vi.waitFor(() => {
      expect(applied()).toEqual(["a,b,c", "a,b"]);
    });
  },
);

test("a change that comes during a turn gets the next turn, never one beside it", async () => {
  let finish: () => void = () => undefined;
  reconcile.mockImplementationOnce(
    () =>
      new Promise(
        (resolve) =>
          (finish = () => {
            resolve({ done: { how: "start", what: "1" }, pending: [], again: false });
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

test("an index is in force only once the changes that came with it are", async () => {
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
  consul.index = 12;
  consul.kvIndex = 9;
  controller.advanced();
  expect([controller.appliedIndex, controller.appliedKvIndex]).toEqual([12, 9]);
  expect(reconcile).toHaveBeenCalledTimes(2);
});

test("a failing change is logged once and retried; the last good state stays", async () => {
  controller.changed();
  await sleep(30);
  reconcile.mockRejectedValue(new Error("HAProxy would not"));
  consul = { catalog: catalog("a", "b"), index: 2, missing: "services" };
  controller.changed();
  await vi.waitFor(
    () => {
      expect(reconcile.mock.calls.length).toBeGreaterThanOrEqual(3);
    },
    { timeout: 3_000 },
  );
  expect(log.filter((line) => line.includes("HAProxy would not"))).toHaveLength(1);
  expect(controller.routing?.backends).toHaveLength(1);
  expect(controller.lastFailure).toBe("HAProxy would not");
  reconcile.mockResolvedValue(did("2"));
  controller.changed();
  await vi.waitFor(() => {
    expect(controller.routing?.backends).toHaveLength(2);
  });
  expect(controller.lastFailure).toBeUndefined();
});

test("a change that waits for a reload is not in force, and says why", async () => {
  controller.changed();
  await sleep(30);
  const reason = "global settings changed (maxconn 4096 -> maxconn 5000)";
  reconcile.mockResolvedValue({ pending: [reason], failure: "HAProxy would not", again: false });
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
    expect(reconcile.mock.lastCall?.[0].settings.maxconn).toBe(4096);
  });
  expect(log.filter((line) => line.includes("HAProxy would not"))).toHaveLength(1);
  reconcile.mockResolvedValue({ done: { how: "reload", what: reason }, pending: [], again: false });
  controller.changed();
  await vi.waitFor(() => {
    expect(controller.appliedIndex).toBe(4);
  });
  expect(controller).toMatchObject({ pending: [], lastFailure: undefined });
});

test("the last good state is kept on disk", async () => {
  controller.changed();
  await sleep(30);
  await controller.stop();
  expect(await readSnapshot(join(folder, "snapshot.json"))).toEqual(catalog("a"));
});

test("an unusable value leaves the last good one in force, also after a restart", async () => {
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
  const routing = reconcile.mock.lastCall?.[0];
  expect(routing?.settings.maxconn).toBe(5_000);
  expect(routing?.routes.find(({ path }) => path === "/a")?.targets).toMatchObject([{ service: "a/v1" }]);
  await controller.stop();
  expect((await readSnapshot(join(folder, "snapshot.json")))?.kv).toEqual({ [pin]: "v1", [maxconn]: "5000" });
});

test("until Consul answers, the last good state is routed, but not called synchronised", async () => {
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
  expect(reconcile.mock.lastCall?.[1]).toBe(false);
  consul.catalog = catalog("a");
  controller.changed();
  await vi.waitFor(() => {
    expect(applied()).toEqual(["kept", "a"]);
  });
  expect(reconcile.mock.lastCall?.[1]).toBe(true);
});

test("what could not be read of Consul is quarantined like the rest", async () => {
  const problem = { level: "quarantined", subject: '".."', message: "Node is left out" } as const;
  consul.catalog = { ...catalog("a"), problems: [problem] };
  controller.changed();
  await sleep(60);
  expect(controller.routing?.problems).toEqual([problem]);
  expect(log).toContain("quarantined: Node is left out");
});

test("a service that HAProxy refuses is quarantined at once, and the next turn goes without it", async () => {
  reconcile.mockResolvedValueOnce({ pending: [], refused: new Map([["a", "bad port"]]), again: true });
  consul.catalog = catalog("a", "b");
  controller.changed();
  await vi.waitFor(() => {
    expect(applied()).toEqual(["a,b", "b"]);
  });
  await controller.done();
  expect(controller.routing?.problems).toMatchObject([
    { level: "quarantined", subject: "a", message: expect.stringContaining("bad port") as string },
  ]);
  expect(controller).toMatchObject({ synced: true, appliedIndex: 1, changes: [{ what: "1" }] });
  // It gets another try once its registration is another.
  consul.catalog = { ...catalog("a", "b"), instances: catalog("b", "a").instances };
  controller.changed();
  await vi.waitFor(() => {
    expect(applied().at(-1)).toBe("a,b");
  });
});

test("a turn that could not do everything is followed by another one, and is not in force before", async () => {
  let finish: (turn: Turn) => void = () => undefined;
  reconcile.mockResolvedValueOnce({ pending: [], again: true });
  reconcile.mockImplementationOnce(() => new Promise((resolve) => (finish = resolve)));
  controller.changed();
  await vi.waitFor(() => {
    expect(reconcile).toHaveBeenCalledTimes(2);
  });
  expect(controller.appliedIndex).toBe(0);
  finish(did("1"));
  await vi.waitFor(() => {
    expect(controller.appliedIndex).toBe(1);
  });
  expect(reconcile).toHaveBeenCalledTimes(2);
});

test("writes of the state do not overlap, and stopping waits for the last one", async () => {
  let [writing, most, written] = [0, 0, 0];
  persist.mockImplementation(async () => {
    most = Math.max(most, ++writing);
    await sleep(300);
    writing--;
    written++;
  });
  controller.changed();
  await vi.waitFor(() => {
    expect(writing).toBe(1);
  });
  // Another change while that is being written, and the end while that still waits to be written.
  consul.catalog = catalog("a", "b");
  controller.changed();
  await sleep(60);
  await controller.stop();
  expect({ most, writing, written }).toEqual({ most: 1, writing: 0, written: 2 });
  expect(await readSnapshot(join(folder, "snapshot.json"))).toEqual(catalog("a", "b"));
});

test("follows the names that instances have instead of addresses, and routes what is known of them", async () => {
  const named = instance("db", 1, { address: "db.example.com" });
  consul.catalog = { instances: [named], kv: {} };
  controller.changed();
  await vi.waitFor(() => {
    expect(reconcile).toHaveBeenCalledTimes(1);
  });
  expect([...(follow.mock.lastCall?.[0] ?? [])]).toEqual(["db.example.com"]);
  expect(reconcile.mock.lastCall?.[0].backends[0]?.servers).toEqual([]);
  resolutions = new Map([["db.example.com", { addresses: ["10.0.0.7"] }]]);
  controller.changed();
  await vi.waitFor(() => {
    expect(reconcile).toHaveBeenCalledTimes(2);
  });
  expect(reconcile.mock.lastCall?.[0].backends[0]?.servers[0]?.address).toBe("10.0.0.7");
});

test("waits a moment for the addresses of new names, so that their service begins with them", async () => {
  settled.mockImplementationOnce(() => {
    resolutions = new Map([["db.example.com", { addresses: ["10.0.0.8"] }]]);
    return Promise.resolve();
  });
  resolutions = new Map();
  follow.mockReturnValueOnce(true);
  consul.catalog = { instances: [instance("db", 1, { address: "db.example.com" })], kv: {} };
  controller.changed();
  await vi.waitFor(() => {
    expect(reconcile).toHaveBeenCalledTimes(1);
  });
  expect(reconcile.mock.lastCall?.[0].backends[0]?.servers[0]?.address).toBe("10.0.0.8");
  expect(reconcile.mock.lastCall?.[0].problems).toEqual([]);
});
