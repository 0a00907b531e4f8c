import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { buildRouting, type Instance, type Routing } from "../../../../routing/build";
import { Applier } from "./reconciler";
import { Metrics } from "../metrics";
import { instance, renderOptions } from "../testing";

/** What the Applier can ask of HAProxy: it has what its file says, refuses what matches `refuse`, and notes all it is told. */
const stub = String.raw`#!${process.execPath}
const { appendFileSync, existsSync, readFileSync } = require("node:fs");
const { createServer } = require("node:net");
const { dirname } = require("node:path");
if (process.argv[2] === "-c") process.exit(0);
const dir = dirname(process.argv[6]);
const read = (name) => (existsSync(dir + "/" + name) ? readFileSync(dir + "/" + name, "utf8") : "");
const config = () => read("haproxy.cfg");
const states = () => {
  let backend;
  return config().split("\n").flatMap((line) => {
    backend = /^\w+ (\S+)/.exec(line)?.[1] ?? backend;
    const [, server, weight] = /^  server (\S+) .* weight (\d+)$/.exec(line) ?? [];
    return server === undefined ? [] : ["1 " + backend + " 1 " + server + " 10.0.0.1 2 0 " + weight + " 1 0 0 0 0 0 0"];
  }).join("\n");
};
const answer = (line) => {
  appendFileSync(dir + "/told", line + "\n");
  const refuse = read("refuse");
  if (refuse !== "" && line.includes(refuse)) return "[3]: not that";
  if (line === "show servers state") return states();
  if (line === "show backend") return [...config().matchAll(/^backend (\S+)/gm)].map(([, name]) => name).join("\n");
  if (line.startsWith("show map ")) return read(line.split("/").at(-1)).replaceAll(/^/gm, "0x1 ");
  return line === "reload" ? read("reload") || "Success=1" : "3.0";
};
const listen = (path) => createServer({ allowHalfOpen: true }, (socket) => {
  let interactive = false;
  socket.on("data", (data) => {
    for (const line of String(data).trim().split("\n")) {
      interactive ||= line === "prompt";
      if (!interactive) return socket.end(answer(line) + "\n");
      socket.write(answer(line) + "\n\n> " + (line.endsWith(";show cli level") ? "[6]: admin\n\n> " : ""));
    }
  });
  socket.on("end", () => socket.end());
}).listen(path);
listen(process.argv[4].split(",")[0]);
listen(dir + "/run/worker.sock");
`;

let dir: string;
let applier: Applier;
const onReloadable = vi.fn();
const metrics = new Metrics();

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "switchyard-"));
  writeFileSync(join(dir, "haproxy"), stub);
  chmodSync(join(dir, "haproxy"), 0o755);
  vi.stubEnv("PATH", `${dir}:${process.env["PATH"] ?? ""}`);
  onReloadable.mockReset();
  applier = new Applier({
    render: { ...renderOptions, dir, runDir: join(dir, "run") },
    https: () => undefined,
    log: () => undefined,
    metrics,
    onProven: () => undefined,
    onReloadable,
    onRestart: () => undefined,
  });
});
afterEach(async () => {
  await applier.stop(0);
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

test("a reload that waits is told of, and so is one that has been had", async () => {
  expect(await applier.apply(routing(one))).toMatchObject({ done: { how: "start" }, pending: [] });
  expect(await applier.apply(routing(one, odd(2)))).toMatchObject({ done: { how: "reload" }, pending: [] });
  const sticky = instance("more", 3, { meta: { sticky: "true" } });
  const pending = ["service more is new and has options of its own"];
  expect(await applier.apply(routing(one, odd(2), sticky))).toEqual({ pending, failure: undefined });
  expect(told("reload")).toBe(1);
});

test.each([
  [
    "HAProxy does not take",
    () => {
      writeFileSync(join(dir, "reload"), "Success=0\n--\n[ALERT]    (1) : no");
    },
    ": no",
  ],
  [
    "the disk does not take",
    () => {
      mkdirSync(join(dir, "haproxy.candidate.cfg.new"));
    },
    "EISDIR",
  ],
])("a reload that %s holds nothing else up, and is not tried again at once", async (_, spoil, why) => {
  await applier.apply(routing(one));
  spoil();
  const wanted = [one, instance("a", 2), odd(3)];
  const first = await applier.apply(routing(...wanted));
  expect(first).toMatchObject({ done: { how: "operations", what: "a + 10.0.0.1:2" } });
  expect(first.pending).toEqual(["service odd is new and has options of its own"]);
  expect(first.failure).toContain(why);
  const reloads = told("reload");
  expect(await applier.apply(routing(...wanted, instance("a", 4)))).toEqual({
    done: { how: "operations", what: "a + 10.0.0.1:4" },
    pending: first.pending,
    failure: first.failure,
  });
  expect(told("reload")).toBe(reloads);
  expect(await applier.apply(routing(one))).toMatchObject({ pending: [], failure: undefined });
});

test("what somebody else has done already is not asked for again", async () => {
  await applier.apply(routing(one, instance("a", 2)));
  const file = join(dir, "haproxy.cfg");
  writeFileSync(file, readFileSync(file, "utf8").replace(/^ {2}server 10.0.0.1:2 .*\n/m, ""));
  writeFileSync(join(dir, "refuse"), "state maint");
  const done = { how: "operations", what: "a - 10.0.0.1:2" };
  expect(await applier.apply(routing(one))).toMatchObject({ done, pending: [] });
  expect(await applier.apply(routing(one))).toEqual({ pending: [], failure: undefined });
  expect(told("state maint")).toBe(1);
});

test("a change that is refused for good takes a reload, at its time", async () => {
  await applier.apply(routing(one));
  await applier.apply(routing(one, odd(2)));
  writeFileSync(join(dir, "refuse"), "add server");
  const { pending } = await applier.apply(routing(one, odd(2), odd(3)));
  expect(pending).toEqual(["HAProxy refused a change while running (not that)"]);
  expect(told("reload")).toBe(1);
  await vi.waitFor(
    () => {
      expect(onReloadable).toHaveBeenCalled();
    },
    { timeout: 3_000 },
  );
  expect(await applier.apply(routing(one, odd(2), odd(3)))).toMatchObject({
    done: { how: "reload" },
    pending: [],
  });
});

test("the port of a TCP service that is gone stays, and is its own when it comes back", async () => {
  const db = instance("db", 5, { tags: ["tcp"], meta: { tcp_port: "5432" } });
  await applier.apply(routing(one, db));
  await applier.apply(routing(one));
  expect([...applier.tcpPorts]).toEqual([5432]);
  expect(await applier.apply(routing(one, db))).toMatchObject({ done: { how: "operations" }, pending: [] });
});

test("a reload is counted once, whatever it was for", async () => {
  await applier.apply(routing(one));
  const count = vi.spyOn(metrics, "reload");
  await applier.apply(routing(odd(2), instance("a", 1, { meta: { sticky: "true" } })));
  expect(count).toHaveBeenCalledExactlyOnceWith("service options");
});
