import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Haproxy, haproxyPaths } from "./process";
import { ask } from "./socket";
import { validate } from "./validate";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "switchyard-"));
  vi.stubEnv("PATH", `${folder}:${process.env["PATH"] ?? ""}`);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

function program(script: string, shell = "/bin/sh"): void {
  const path = join(folder, "haproxy");
  writeFileSync(path, `#!${shell}\n${script}\n`);
  chmodSync(path, 0o755);
}

const haproxy = (startTimeoutMs?: number) =>
  new Haproxy(
    haproxyPaths(folder, folder),
    vi.fn(),
    { ended: vi.fn(), restarted: vi.fn() },
    startTimeoutMs === undefined ? {} : { startTimeoutMs },
  );

test("a configuration with a warning for each of ten thousand services is valid", async () => {
  program("head -c 3000000 /dev/zero | tr '\\0' w >&2");
  expect(await validate("some.cfg")).toBeUndefined();
});

test("HAProxy's complaint about a configuration is returned", async () => {
  program("echo '[ALERT] (1) : config : no such thing' >&2; exit 1");
  expect(await validate("some.cfg")).toContain("no such thing");
});

/** Empty once the process has ended, even if its exit code has not been collected yet. */
function commandOf(pid: string): string {
  const file = `/proc/${pid}/cmdline`;
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}

test("an HAProxy that does not answer is ended with its children before the start counts as failed", async () => {
  const pids = join(folder, "pids");
  program(`sleep 60 & echo $$ $! > ${pids}; trap "" TERM; wait`);
  await expect(haproxy(400).load(new Set())).rejects.toThrow("its worker gave no answer within 0.4 s");
  for (const pid of readFileSync(pids, "utf8").trim().split(" ")) expect(commandOf(pid)).toBe("");
});

/** Installs an HAProxy whose worker answers, and returns how to find the process ids of those started, oldest first. */
function answeringProgram(): () => string[] {
  const pids = join(folder, "pids");
  program(
    `const { createServer } = require("node:net");
    const path = process.argv[4].replace("master.sock,mode,600", "worker.sock");
    require("node:fs").rmSync(path, { force: true });
    createServer((socket) => socket.end("3.0\\n\\nadmin\\n\\n")).listen(path);
    require("node:fs").appendFileSync("${pids}", process.pid + "\\n");`,
    process.execPath,
  );
  return () => readFileSync(pids, "utf8").trim().split("\n");
}

test("HAProxy is started again at once, unless it ends again soon", async () => {
  const pids = answeringProgram();
  const events = { ended: vi.fn(), restarted: vi.fn() };
  const log = vi.fn();
  const restarting = new Haproxy(haproxyPaths(folder, folder), log, events);
  await restarting.load(new Set());
  for (const [times, delay] of ["now", "in 200 ms", "in 400 ms"].entries()) {
    process.kill(Number(pids().at(-1)), "SIGKILL");
    await vi.waitFor(
      () => {
        expect(events.restarted).toHaveBeenCalledTimes(times + 1);
      },
      { timeout: 20_000 },
    );
    expect(log).toHaveBeenLastCalledWith(
      expect.stringMatching(new RegExp(`^HAProxy is gone .* Starting it again ${delay}\\.$`)),
    );
  }
  await restarting.stop(0);
}, 60_000);

test("an HAProxy that is frozen is ended, and another one started", async () => {
  const pids = answeringProgram();
  const events = { ended: vi.fn(), restarted: vi.fn() };
  const log = vi.fn();
  const watched = new Haproxy(haproxyPaths(folder, folder), log, events, {
    watch: { pauseMs: 20, timeoutMs: 500 },
  });
  await watched.load(new Set());
  const [frozen = ""] = pids();
  process.kill(Number(frozen), "SIGSTOP");
  await vi.waitFor(
    () => {
      expect(events.restarted).toHaveBeenCalledOnce();
    },
    { timeout: 20_000 },
  );
  expect(log).toHaveBeenCalledWith("HAProxy left 3 questions in a row unanswered. Ending it.");
  expect(commandOf(frozen)).toBe("");
  await watched.stop(0);
}, 30_000);

test("only HAProxy's own answer shows that it has taken over, and until then the inherited worker is asked", async () => {
  const worker = join(folder, "before.sock");
  const before = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("data", () => socket.end("3.0\n\nadmin\n\n"));
  }).listen(worker);
  await once(before, "listening");
  program("sleep 60");
  const paths = haproxyPaths(folder, join(folder, "run"));
  const events = { ended: vi.fn(), restarted: vi.fn() };
  const inherited = { worker, master: join(folder, "none.sock"), ports: new Set([5432]) };
  const successor = new Haproxy(paths, vi.fn(), events, { startTimeoutMs: 400, inherited });
  expect(await ask(paths.worker, "show version")).toContain("3.0");
  await expect(successor.load(new Set([1]))).rejects.toThrow("its worker gave no answer within 0.4 s");
  expect(await ask(paths.worker, "show version")).toContain("3.0");
  expect([successor.running, successor.ports]).toEqual([true, inherited.ports]);
  before.close();
});

test("a failed reload is explained, even if only HAProxy's log says why", async () => {
  program(
    `const { createServer } = require("node:net");
    createServer((socket) => socket.end("3.0\\n\\nadmin\\n\\n")).listen(process.argv[4].replace("master.sock,mode,600", "worker.sock"));
    createServer({ allowHalfOpen: true }, (socket) => {
      console.error("[ALERT]    (1) : [haproxy.main()] Cannot raise FD limit to 1000054, limit is 20000.");
      socket.end("Success=0\\n\\n");
    }).listen(process.argv[4].split(",")[0]);`,
    process.execPath,
  );
  const running = haproxy();
  await running.load(new Set([1]));
  await expect(running.load(new Set([2]))).rejects.toThrow(
    "HAProxy did not take the new configuration: [haproxy.main()] Cannot raise FD limit to 1000054, limit is 20000.",
  );
  expect([running.running, running.ports]).toEqual([true, new Set([1])]);
  await running.stop(0);
});
