import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { buildRouting } from "../../../../routing/build";
import type { Instance, Routing } from "../../../../routing/types";
import { Reconciler } from "./reconciler";
import type { Turn } from "./turn";
import { parseServersState } from "../haproxy/commands";
import { Haproxy, haproxyPaths } from "../haproxy/process";
import { Runtime } from "../haproxy/runtime-api";
import { Metrics } from "../metrics";
import { instance, renderOptions } from "../testing";

/** HAProxy as far as the reconciler needs it: it has what its file says, refuses what matches `refuse`, and notes commands. */
const stub = String.raw`#!${process.execPath}
const { appendFileSync, existsSync, readFileSync } = require("node:fs");
const { createServer } = require("node:net");
const { dirname } = require("node:path");
if (process.argv[2] === "-c") {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  while (existsSync(dirname(process.argv[4]) + "/pause")) Atomics.wait(pause, 0, 0, 10);
  process.exit(0);
}
const dir = dirname(process.argv[6]);
const read = (name) => (existsSync(dir + "/" + name) ? readFileSync(dir + "/" + name, "utf8") : "");
const config = () => read("haproxy.cfg");
const states = () => {
  let backend;
  return config().split("\n").flatMap((line) => {
    backend = /^\w+ (\S+)/.exec(line)?.[1] ?? backend;
    const [, server, at, port, weight] = /^  server (\S+) (\S+):(\d+) .* weight (\d+)$/.exec(line) ?? [];
    return server === undefined ? [] : ["1 " + backend + " 1 " + server + " " + at + " 2 0 " + weight + " 1 0 0 0 0 0 0 0 0 - " + port + " -"];
  }).join("\n");
};
const answer = (line) => {
  appendFileSync(dir + "/told", line + "\n");
  const refuse = read("refuse");
  if (refuse !== "" && line.includes(refuse)) return "[3]: not that";
  if (line === "show servers state") return states().replace(new RegExp("^.* " + (read("drift") || "nothing") + " .*$", "m"), "");
  if (line === "show backend") return [...config().matchAll(/^backend (\S+)/gm)].map(([, name]) => name).join("\n");
  if (line.startsWith("show map ")) return read(line.split("/").at(-1)).replaceAll(/^/gm, "0x1 ");
  return line === "reload" ? read("reload") || "Success=1" : "3.0";
};
const last = ";show cli level";
const whole = (line) => (line.endsWith(last) ? answer(line.slice(0, -last.length)) + "\n\nadmin" : answer(line)) + "\n\n";
const listen = (path) => createServer({ allowHalfOpen: true }, (socket) => {
  let interactive = false;
  socket.on("data", (data) => {
    for (const line of String(data).trim().split("\n")) {
      interactive ||= line === "prompt";
      if (!interactive) return socket.end(whole(line));
      socket.write(answer(line) + "\n\n> " + (line.endsWith(last) ? "[6]: admin\n\n> " : ""));
    }
  });
  socket.on("end", () => socket.end());
}).listen(path);
listen(process.argv[4].split(",")[0]);
listen(dir + "/run/worker.sock");
`;

let dir: string;
let haproxy: Haproxy;
let reconciler: Reconciler;
let log: string[];
const onReloadable = vi.fn();
const metrics = new Metrics();

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "switchyard-"));
  writeFileSync(join(dir, "haproxy"), stub);
  chmodSync(join(dir, "haproxy"), 0o755);
  vi.stubEnv("PATH", `${dir}:${process.env["PATH"] ?? ""}`);
  onReloadable.mockReset();
  log = [];
  haproxy = new Haproxy(haproxyPaths(dir, join(dir, "run")), (message) => log.push(message), {
    ended: () => undefined,
    restarted: () => undefined,
  });
  reconciler = newReconciler();
});

const newReconciler = () =>
  new Reconciler({
    render: { ...renderOptions, dir, runDir: join(dir, "run") },
    https: () => undefined,
    authorities: () => new Map(),
    log: (message) => log.push(message),
    metrics,
    onProven: () => undefined,
    onReplacing: () => undefined,
    onReloadable,
    haproxy,
  });

afterEach(async () => {
  reconciler.stop();
  await haproxy.stop(0);
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

const routing = (...instances: Instance[]): Routing => buildRouting({ instances, kv: {} });
const told = (what: string): number =>
  readFileSync(join(dir, "told"), "utf8")
    .split("\n")
    .filter((line) => line.includes(what)).length;
const odd = (port: number) => instance("odd", port, { meta: { balance: "leastconn" } });
const one = instance("a", 1);

/** Takes turns as the controller does, until one leaves nothing to the next. */
async function apply(wanted: Routing): Promise<Turn> {
  for (let turns = 0; turns < 5; turns++) {
    const turn = await reconciler.reconcile(wanted);
    if (!turn.again) return turn;
  }
  throw new Error("it never settles");
}

test("a turn says that it reloaded, or that a reload has to wait and why", async () => {
  expect(await apply(routing(one))).toMatchObject({ done: { how: "start" }, pending: [] });
  expect(await apply(routing(one, odd(2)))).toMatchObject({ done: { how: "reload" }, pending: [] });
  const sticky = instance("more", 3, { meta: { sticky: "true" } });
  const pending = ["service more is new and has options of its own"];
  expect(await apply(routing(one, odd(2), sticky))).toEqual({ pending, failure: undefined, again: false });
  expect(told("reload")).toBe(1);
});

test("instances that are gone leave before a reload", async () => {
  await apply(routing(one, instance("b", 2)));
  await apply(routing(one, odd(3)));
  const lines = readFileSync(join(dir, "told"), "utf8").split("\n");
  const left = lines.findIndex((line) => line.includes("set server svc:b/10.0.0.1:2 state maint"));
  expect(left).toBeGreaterThan(0);
  expect(left).toBeLessThan(lines.indexOf("reload"));
});

test("instances that are gone during a reload leave both workers at once", async () => {
  await apply(routing(one, instance("b", 2)));
  writeFileSync(join(dir, "pause"), "");
  const reloaded = apply(routing(one, instance("b", 2), odd(3)));
  await vi.waitFor(() => {
    expect(reconciler.isReloading).toBe(true);
  });
  const leave = "set server svc:b/10.0.0.1:2 state maint";
  await reconciler.depart(routing(one, odd(3)));
  expect(told(leave)).toBe(1);
  expect(told("reload")).toBe(0);
  rmSync(join(dir, "pause"));
  await reloaded;
  const states = parseServersState(readFileSync(join(dir, "server.state"), "utf8"));
  const isUp = new Map(states.map(({ server, up }) => [server, up]));
  expect(isUp.get("10.0.0.1:1")).toBe(true);
  expect(isUp.get("10.0.0.1:2")).toBe(false);
  expect(reconciler.isReloading).toBe(false);
  expect(told(leave)).toBe(2);
  await reconciler.depart(routing(one));
  expect(told("state maint")).toBe(2);
});

test.each([
  [
    "HAProxy refuses",
    () => {
      writeFileSync(join(dir, "reload"), "Success=0\n--\n[ALERT]    (1) : no");
    },
    ": no",
  ],
  [
    "the disk refuses",
    () => {
      mkdirSync(join(dir, "haproxy.candidate.cfg"));
    },
    "EISDIR",
  ],
])("a reload that %s blocks nothing else, and is not retried at once", async (_, spoil, why) => {
  await apply(routing(one));
  spoil();
  const wanted = [one, instance("a", 2), odd(3)];
  const first = await apply(routing(...wanted));
  expect(first).toMatchObject({ done: { how: "operations", what: "a + 10.0.0.1:2" } });
  expect(first.pending).toEqual(["service odd is new and has options of its own"]);
  expect(first.failure).toContain(why);
  const reloads = told("reload");
  expect(await apply(routing(...wanted, instance("a", 4)))).toEqual({
    done: { how: "operations", what: "a + 10.0.0.1:4" },
    pending: first.pending,
    failure: first.failure,
    again: false,
  });
  expect(told("reload")).toBe(reloads);
  expect(await apply(routing(one))).toMatchObject({ pending: [], failure: undefined });
});

test("what somebody else has done already is not done again", async () => {
  await apply(routing(one, instance("a", 2)));
  const file = join(dir, "haproxy.cfg");
  writeFileSync(file, readFileSync(file, "utf8").replace(/^ {2}server 10.0.0.1:2 .*\n/m, ""));
  writeFileSync(join(dir, "refuse"), "state maint");
  const done = { how: "operations", what: "a - 10.0.0.1:2" };
  expect(await apply(routing(one))).toMatchObject({ done, pending: [] });
  expect(await apply(routing(one))).toEqual({ pending: [], failure: undefined, again: false });
  expect(told("state maint")).toBe(1);
});

test("an operation that HAProxy refuses again takes a reload once one is allowed", async () => {
  await apply(routing(one));
  await apply(routing(one, odd(2)));
  writeFileSync(join(dir, "refuse"), "add server");
  const { pending } = await apply(routing(one, odd(2), odd(3)));
  expect(pending).toEqual(["HAProxy refused a change while running (not that)"]);
  expect(told("reload")).toBe(1);
  await vi.waitFor(
    () => {
      expect(onReloadable).toHaveBeenCalled();
    },
    { timeout: 3_000 },
  );
  expect(await apply(routing(one, odd(2), odd(3)))).toMatchObject({
    done: { how: "reload" },
    pending: [],
  });
});

test("the port of a TCP service that is gone stays open for when it comes back", async () => {
  const db = instance("db", 5, { tags: ["tcp"], meta: { tcp_port: "5432" } });
  await apply(routing(one, db));
  await apply(routing(one));
  expect([...reconciler.ports]).toEqual([5432]);
  expect(await apply(routing(one, db))).toMatchObject({ done: { how: "operations" }, pending: [] });
});

test("a reload counts once, for the first of its reasons", async () => {
  await apply(routing(one));
  const count = vi.spyOn(metrics, "reload");
  await apply(routing(odd(2), instance("a", 1, { meta: { sticky: "true" } })));
  expect(count).toHaveBeenCalledExactlyOnceWith("service options");
});

/** An instance of service `a` that answers until its server is closed, and one of `b` that does not. */
async function twoInstances() {
  const server = createServer((_, response) => response.end()).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const answers = instance("a", port, { address: "127.0.0.1" });
  const silent = instance("b", 1, { address: "127.0.0.1" });
  return { server, port, answers, silent };
}

test("the first HAProxy starts with the servers up that answer, and so does one that follows it after a crash", async () => {
  const { server, port, answers, silent } = await twoInstances();
  const states = () =>
    parseServersState(readFileSync(join(dir, "server.state"), "utf8")).map(({ backend, up }) => [
      backend,
      up,
    ]);
  await reconciler.reconcile(routing(answers, silent));
  expect(states()).toEqual([
    ["svc:a", true],
    ["svc:b", false],
  ]);
  expect([...reconciler.proven]).toEqual([`svc:a/127.0.0.1:${port}`]);
  // The stub takes every server for one that is up.
  await reconciler.persist();
  expect(states()).toEqual([
    ["svc:a", true],
    ["svc:b", true],
  ]);
  server.close();
});

test("a worker that does not tell its servers' states is replaced by one in which those that answered are up", async () => {
  const { server, port, answers, silent } = await twoInstances();
  await reconciler.reconcile(routing(answers, silent));
  await vi.waitFor(() => {
    expect([...reconciler.proven]).toEqual([`svc:a/127.0.0.1:${port}`]);
  });
  vi.spyOn(Runtime.prototype, "states").mockRejectedValueOnce(new Error("no answer within 10000 ms"));
  expect(await reconciler.reconcile(routing(answers, silent, odd(3)))).toMatchObject({
    done: { how: "reload" },
  });
  server.close();
  const states = parseServersState(readFileSync(join(dir, "server.state"), "utf8"));
  expect(states.map(({ backend, up }) => [backend, up])).toEqual([
    ["svc:a", true],
    ["svc:b", false],
    ["svc:odd", false],
  ]);
  expect(log).toContainEqual(expect.stringContaining("The states of the servers cannot be read"));
});

test("what the new worker does not have as it should is put right in the next turn", async () => {
  await reconciler.reconcile(routing(one));
  writeFileSync(join(dir, "drift"), "10.0.0.1:1");
  const drifted = vi.spyOn(metrics, "drifted");
  expect(await reconciler.reconcile(routing(one, odd(2)))).toMatchObject({
    done: { how: "reload" },
    pending: [],
    again: true,
  });
  expect(drifted).toHaveBeenCalledOnce();
  expect(await apply(routing(one, odd(2)))).toMatchObject({
    done: { how: "operations", what: "a + 10.0.0.1:1" },
  });
});

test("a renderer that finds HAProxy running reloads it, with the servers up that were up", async () => {
  const db = instance("db", 5, { tags: ["tcp"], meta: { tcp_port: "5432" } });
  await apply(routing(one, instance("a", 2), db));
  writeFileSync(join(dir, "drift"), "10.0.0.1:2");
  reconciler.stop();
  reconciler = newReconciler();
  expect([...reconciler.ports]).toEqual([5432]);
  const wanted = routing(one, instance("a", 2), db, instance("b", 3));
  expect(await reconciler.reconcile(wanted)).toEqual({ pending: [], again: true });
  expect(told("reload")).toBe(0);
  expect(reconciler.running).toBe(false);
  expect([...reconciler.proven].sort()).toEqual(["svc:a/10.0.0.1:1", "svc:db/10.0.0.1:5"]);
  const done = { how: "reload", what: "the renderer was started again" };
  expect(await reconciler.reconcile(wanted)).toEqual({ done, pending: [], again: false });
  expect(told("reload")).toBe(1);
  const states = parseServersState(readFileSync(join(dir, "server.state"), "utf8"));
  expect(states.map(({ server, up }) => [server, up])).toEqual([
    ["10.0.0.1:1", true],
    ["10.0.0.1:2", false],
    ["10.0.0.1:3", false],
    ["10.0.0.1:5", true],
  ]);
});

test("instances that are gone leave what an earlier renderer has left before it is replaced", async () => {
  await apply(routing(one, instance("b", 2)));
  reconciler.stop();
  reconciler = newReconciler();
  await apply(routing(one, odd(3)));
  const lines = readFileSync(join(dir, "told"), "utf8").split("\n");
  const left = lines.findIndex((line) => line.includes("set server svc:b/10.0.0.1:2 state maint"));
  expect(left).toBeGreaterThan(0);
  expect(left).toBeLessThan(lines.indexOf("reload"));
  expect(told("state maint")).toBe(1);
});

test("a running HAProxy that rejects the first reload of a new renderer goes on, and is asked again", async () => {
  await apply(routing(one));
  reconciler.stop();
  reconciler = newReconciler();
  writeFileSync(join(dir, "reload"), "Success=0\n--\n[ALERT]    (1) : no");
  await expect(apply(routing(one))).rejects.toThrow("HAProxy did not take the new configuration: no");
  expect(haproxy.running).toBe(true);
  rmSync(join(dir, "reload"));
  expect(await apply(routing(one))).toMatchObject({ done: { how: "reload" } });
});

const ready = (): string => readFileSync(join(dir, "flags.map"), "utf8");

test("it is ready once a routing from Consul is in force, without a reload", async () => {
  await reconciler.reconcile(routing(one), false);
  expect(ready()).toBe("");
  expect(await apply(routing(one))).toMatchObject({ done: { how: "operations", what: "ready" } });
  expect(told("reload")).toBe(0);
  expect(told(`add map ${dir}/flags.map ready 1`)).toBe(1);
  await reconciler.persist();
  expect(ready()).toBe("ready 1\n");
});

test.each([true, false])("HAProxy stays as ready as it was (%s) under a new renderer", async (was) => {
  await reconciler.reconcile(routing(one), was);
  const before = ready();
  reconciler.stop();
  reconciler = newReconciler();
  for (let turns = 0; turns < 2; turns++) await reconciler.reconcile(routing(one), false);
  expect(told("reload")).toBe(1);
  expect(ready()).toBe(before);
  expect(before).toBe(was ? "ready 1\n" : "");
});
