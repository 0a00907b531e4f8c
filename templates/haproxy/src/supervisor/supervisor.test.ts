import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { parseArguments } from "../cli/options";
import { haproxyPaths } from "../haproxy/process";
import { Supervisor } from "./supervisor";

/** HAProxy as far as the supervisor needs it: it answers on its sockets and notes reloads. */
const stub = String.raw`#!${process.execPath}
const { appendFileSync } = require("node:fs");
const { createServer } = require("node:net");
const { dirname } = require("node:path");
const dir = dirname(process.argv[6]);
const listen = (path, answer) => createServer({ allowHalfOpen: true }, (socket) => {
  socket.on("data", (data) => socket.end(answer(String(data))));
  socket.on("end", () => socket.end());
}).listen(path);
listen(process.argv[4].split(",")[0], (data) => {
  if (data === "reload\n") appendFileSync(dir + "/notes", "reload\n");
  return "Success=1\n\n";
});
listen(dir + "/worker.sock", () => "3.0\n\nadmin\n\n");
`;

/** What every program of these tests begins with. */
const prelude = `
const { appendFileSync } = require("node:fs");
const { parentPort, workerData } = require("node:worker_threads");
const { haproxy, restarts } = workerData;
const note = (text) => appendFileSync(workerData.options.stateDir + "/notes", text + "\\n");
const tell = (message) => parentPort.postMessage(message);
`;

let dir: string;
let log: string[];
let supervisor: Supervisor | undefined;
const unusable = vi.fn();

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "switchyard-"));
  writeFileSync(join(dir, "haproxy"), stub);
  chmodSync(join(dir, "haproxy"), 0o755);
  vi.stubEnv("PATH", `${dir}:${process.env["PATH"] ?? ""}`);
  unusable.mockReset();
  log = [];
});

afterEach(async () => {
  await supervisor?.stop(0);
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

function start(renderer: string): Supervisor {
  const program = join(dir, "renderer.js");
  writeFileSync(program, prelude + renderer);
  supervisor = new Supervisor({
    program,
    options: parseArguments([`--state-dir=${dir}`], {}, 1),
    haproxy: haproxyPaths(dir, dir),
    log: (message) => log.push(message),
    unusable,
  });
  supervisor.start();
  return supervisor;
}

const notes = () => readFileSync(join(dir, "notes"), "utf8").trim().split("\n");

test("a renderer that fails is started again, and HAProxy runs on", async () => {
  start(`
    note(restarts + " " + haproxy.running + " " + [...haproxy.ports]);
    tell({ kind: "serving" });
    tell({ kind: "load", ports: new Set([5432]) });
    parentPort.on("message", ({ kind, status, failure }) => {
      note(kind + " " + status.running + " " + [...status.ports] + " " + failure);
      if (restarts === 0) setImmediate(() => { throw new Error("oops"); });
      if (restarts === 1) Promise.reject(new Error("also"));
    });`);
  await vi.waitFor(
    () => {
      expect(notes()).toEqual([
        "0 false ",
        "loaded true 5432 undefined",
        "1 true 5432",
        "reload",
        "loaded true 5432 undefined",
        "2 true 5432",
        "reload",
        "loaded true 5432 undefined",
      ]);
    },
    { timeout: 20_000 },
  );
  expect(log).toEqual([
    expect.stringMatching(/^The renderer failed: Error: oops\n +at /),
    "Starting the renderer again in 100 ms. HAProxy keeps its routes meanwhile.",
    expect.stringMatching(/^The renderer failed: Error: also\n +at /),
    "Starting the renderer again in 200 ms. HAProxy keeps its routes meanwhile.",
  ]);
  expect(unusable).not.toHaveBeenCalled();
});

test("a first renderer that cannot start is reported as unusable", async () => {
  start(`throw new Error("the admin port is taken");`);
  await vi.waitFor(
    () => {
      expect(unusable).toHaveBeenCalledOnce();
    },
    { timeout: 10_000 },
  );
  expect(log).toEqual([expect.stringContaining("the admin port is taken")]);
});

test("stop waits for the renderer", async () => {
  const running = start(`
    tell({ kind: "serving" });
    note("serving");
    parentPort.on("message", ({ kind }) => {
      if (kind !== "stop") return;
      setTimeout(() => { note("stopped"); tell({ kind: "stopped" }); }, 50);
    });`);
  await vi.waitFor(() => {
    expect(notes()).toEqual(["serving"]);
  });
  await running.stop(0);
  expect(notes()).toEqual(["serving", "stopped"]);
});
