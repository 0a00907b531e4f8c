import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { logPipe } from "./log-pipe";

/** Runs a program of Node's through the pipe. */
function start(program: string) {
  const child = spawn("perl", logPipe([process.execPath, "-e", program]), {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const pieces: string[] = [];
  child.stdout.setEncoding("utf8").on("data", (piece: string) => pieces.push(piece));
  const ended = once(child, "close").then(([code]: number[]) => code);
  return { child, pieces, ended };
}

const lines = 2_000;

test("every line arrives, in order, and many at a time", async () => {
  const { pieces, ended } = start(`
    const { writeSync } = require("node:fs");
    let line = 0;
    const tick = setInterval(() => {
      for (let i = 0; i < 20; i++) writeSync(1, "line " + line++ + "\\n");
      if (line === ${lines}) clearInterval(tick);
    }, 1);`);
  expect(await ended).toBe(0);
  expect(pieces.join("")).toBe(Array.from({ length: lines }, (_, line) => `line ${line}\n`).join(""));
  expect(pieces.length).toBeLessThan(lines / 4);
});

test("a slow reader loses nothing that fits the pipe", async () => {
  const { child, pieces, ended } = start(`
    for (let i = 0; i < 5_000; i++) require("node:fs").writeSync(1, "x".repeat(99) + "\\n");`);
  child.stdout.pause();
  await new Promise((resolve) => setTimeout(resolve, 300));
  child.stdout.resume();
  await ended;
  expect(pieces.join("")).toHaveLength(500_000);
});

test("signals reach the program, and its last lines and exit code are passed on", async () => {
  const { child, pieces, ended } = start(`
    process.on("SIGUSR1", () => { console.log("told"); process.exit(7); });
    setInterval(() => {}, 1_000);
    console.log("ready");`);
  await once(child.stdout, "data");
  child.kill("SIGUSR1");
  expect(await ended).toBe(7);
  expect(pieces.join("")).toBe("ready\ntold\n");
});

test("a killed program ends with the exit code that a shell would give", async () => {
  expect(await start(`process.kill(process.pid, "SIGKILL")`).ended).toBe(137);
});
