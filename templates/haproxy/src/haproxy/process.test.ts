import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Haproxy } from "./process";

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

const haproxy = (patience?: number) =>
  new Haproxy(
    { config: "", master: join(folder, "master.sock"), worker: join(folder, "worker.sock") },
    vi.fn(),
    vi.fn(),
    patience,
  );

function validate(script: string): Promise<string | undefined> {
  program(script);
  return haproxy().validate("some.cfg");
}

test("a warning for each of ten thousand services is no reason to refuse a configuration", async () => {
  expect(await validate("head -c 3000000 /dev/zero | tr '\\0' w >&2")).toBeUndefined();
});

test("what HAProxy has against a configuration is told", async () => {
  expect(await validate("echo '[ALERT] (1) : config : no such thing' >&2; exit 1")).toContain(
    "no such thing",
  );
});

/** Empty once it has ended, also where nobody has asked for its exit code yet. */
function commandOf(pid: string): string {
  const file = `/proc/${pid}/cmdline`;
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}

test("what gives no answer is ended, with all that it has started, before it is said to have failed", async () => {
  const pids = join(folder, "pids");
  program(`sleep 60 & echo $$ $! > ${pids}; trap "" TERM; wait`);
  await expect(haproxy(400).start()).rejects.toThrow("its worker gave no answer within 0.4 s");
  for (const pid of readFileSync(pids, "utf8").trim().split(" ")) expect(commandOf(pid)).toBe("");
});

test("why a reload failed is told where only the log of HAProxy says it", async () => {
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
  await running.start();
  expect(await running.reload()).toBe("[haproxy.main()] Cannot raise FD limit to 1000054, limit is 20000.");
  await running.stop(0);
});
