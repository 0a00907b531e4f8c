import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { parseArguments } from "../cli/options";
import { haproxyPaths } from "../haproxy/process";
import { takeOver, type Predecessor } from "./handover";
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
process.on("SIGUSR1", () => process.exit(0));
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
const drained = vi.fn();

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "switchyard-"));
  writeFileSync(join(dir, "haproxy"), stub);
  chmodSync(join(dir, "haproxy"), 0o755);
  vi.stubEnv("PATH", `${dir}:${process.env["PATH"] ?? ""}`);
  unusable.mockReset();
  drained.mockReset();
  log = [];
});

afterEach(async () => {
  await supervisor?.stop(0);
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

function start(renderer: string, predecessor?: Predecessor, watchMs?: number): Supervisor {
  const program = join(dir, "renderer.js");
  writeFileSync(program, prelude + renderer);
  supervisor = new Supervisor({
    program,
    options: parseArguments([`--state-dir=${dir}`], {}, 1),
    haproxy: haproxyPaths(dir, dir),
    log: (message) => log.push(message),
    unusable,
    handover: join(dir, "handover.sock"),
    predecessor,
    serving: vi.fn(),
    drained,
    ...(watchMs === undefined ? {} : { watchMs }),
  });
  supervisor.start();
  return supervisor;
}

// Patient, for busy machines.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });
const soon = (check: () => void) => vi.waitFor(check, { timeout: 30_000 });

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
  await soon(() => {
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
  });
  expect(log).toEqual([
    expect.stringMatching(/^The renderer failed: Error: oops\n +at /),
    "Starting the renderer again in 100 ms. HAProxy keeps its routes meanwhile.",
    expect.stringMatching(/^The renderer failed: Error: also\n +at /),
    "Starting the renderer again in 200 ms. HAProxy keeps its routes meanwhile.",
  ]);
  expect(unusable).not.toHaveBeenCalled();
});

test("a renderer that is stuck is ended, and one that says it is alive is not", async () => {
  // The next one has six times as long to start, even on a busy machine.
  const watchMs = 1_000;
  start(
    `
    tell({ kind: "serving" });
    note("serving " + restarts);
    if (restarts === 0) while (true);
    setInterval(() => tell({ kind: "alive" }), 1);
    parentPort.on("message", () => tell({ kind: "stopped" }));`,
    undefined,
    watchMs,
  );
  await soon(() => {
    expect(notes()).toEqual(["serving 0", "serving 1"]);
  });
  expect(log).toEqual([
    "The renderer is stuck. Ending it.",
    "Starting the renderer again in 100 ms. HAProxy keeps its routes meanwhile.",
  ]);
  expect(unusable).not.toHaveBeenCalled();
});

test("a first renderer that cannot start is reported as unusable", async () => {
  start(`throw new Error("the admin port is taken");`);
  await soon(() => {
    expect(unusable).toHaveBeenCalledOnce();
  });
  expect(log).toEqual([expect.stringContaining("the admin port is taken")]);
});

test("stop does not wait for a renderer that is stuck", async () => {
  const running = start(`
    tell({ kind: "serving" });
    note("serving");
    while (true);`);
  await soon(() => {
    expect(notes()).toEqual(["serving"]);
  });
  await running.stop(0);
});

test("stop waits for the renderer", async () => {
  const running = start(`
    tell({ kind: "serving" });
    note("serving");
    parentPort.on("message", ({ kind }) => {
      if (kind !== "stop") return;
      setTimeout(() => { note("stopped"); tell({ kind: "stopped" }); }, 50);
    });`);
  await soon(() => {
    expect(notes()).toEqual(["serving"]);
  });
  await running.stop(0);
  expect(notes()).toEqual(["serving", "stopped"]);
});

describe("a load balancer that is replaced", () => {
  const socket = () => join(dir, "handover.sock");
  const renderer = `
    note("started " + haproxy.running);
    tell({ kind: "serving" });
    tell({ kind: "load", ports: new Set([5432]) });
    parentPort.on("message", ({ kind }) => {
      note(kind);
      if (kind === "stop") tell({ kind: "stopped" });
    });`;
  const isWaiting = () =>
    soon(() => {
      expect(existsSync(socket())).toBe(true);
    });

  test("hands over without its renderer, and ends once its connections have", async () => {
    start(renderer);
    await isWaiting();
    const predecessor = await takeOver(socket());
    expect(predecessor?.haproxy).toEqual({
      worker: join(dir, "worker.sock"),
      master: join(dir, "master.sock"),
      ports: new Set([5432]),
    });
    expect(notes().at(-1)).toBe("stop");
    expect(drained).not.toHaveBeenCalled();
    predecessor?.release();
    await soon(() => {
      expect(drained).toHaveBeenCalledOnce();
    });
  });

  test("goes on if its successor ends before it has taken over, and can be replaced again", async () => {
    start(renderer);
    await isWaiting();
    for (const started of [0, 1]) {
      const client = createConnection(socket());
      await once(client, "data");
      client.destroy();
      await soon(() => {
        expect(notes().filter((note) => note === "started true")).toHaveLength(started + 1);
      });
    }
    expect(drained).not.toHaveBeenCalled();
  });
});

test("there is nobody to take over from where nobody listens", async () => {
  expect(await takeOver(join(dir, "none.sock"))).toBeUndefined();
});

test("until it has loaded, HAProxy is its predecessor's, which is told after that", async () => {
  const release = vi.fn();
  const [worker, master] = [join(dir, "before.sock"), join(dir, "before-master.sock")];
  const predecessor = {
    haproxy: { worker, master, ports: new Set([5432]) },
    release,
    gone: new Promise<void>(() => undefined),
  };
  start(
    `
    note(haproxy.running + " " + [...haproxy.ports] + " " + (workerData.predecessor !== undefined));
    tell({ kind: "serving" });
    parentPort.on("message", ({ kind }) => {
      if (kind === "stop") tell({ kind: "stopped" });
      else if (restarts === 0) throw new Error("again");
    });
    tell({ kind: "load", ports: new Set([1]) });`,
    predecessor,
  );
  await soon(() => {
    expect(notes()).toEqual(["true 5432 true", "true 1 false", "reload"]);
  });
  expect(release).toHaveBeenCalledOnce();
  expect(log).toEqual([expect.stringContaining("again"), expect.stringContaining("Starting")]);
});

test("a predecessor that ends before it has handed over leaves no HAProxy", async () => {
  const inherited = { worker: join(dir, "a.sock"), master: join(dir, "b.sock"), ports: new Set([5432]) };
  start(
    `
    tell({ kind: "serving" });
    parentPort.on("message", ({ kind, status }) => {
      if (kind === "stop") tell({ kind: "stopped" });
      else note(kind + " " + status.running + " " + status.ports.size);
    });`,
    { haproxy: inherited, release: vi.fn(), gone: Promise.resolve() },
  );
  await soon(() => {
    expect(notes()).toEqual(["ended false 0"]);
  });
});
