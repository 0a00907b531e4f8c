import { isDeepStrictEqual } from "node:util";

import { afterAll, beforeAll, expect, test } from "vitest";

import { belongings, claimEngineUntilRemoved } from "./docker";
import { get, startLoad, until } from "./http";
import { killAll, processesWith } from "./processes";
import { randomNumbers } from "./random-numbers";
import { killedMark, stack, succeeded, type ServiceEntry } from "./stack";
import { tearDown } from "./tear-down";

// Kills `script/up` and `script/down` at random moments. The next run always ends well, and what served before serves again.
//   KILLS=30 KILL_SEED=7 npx vitest run --project e2e test/e2e/recover.test.ts

const kills = Number(process.env["KILLS"] ?? "2");
const seed = Number(process.env["KILL_SEED"] ?? "1");

const hello = (name: string, version: number): ServiceEntry => ({
  name,
  build: "hello",
  port: 8080,
  env: { NAME: name, VERSION: String(version) },
  // Patient, so that a busy machine does not make Swarm replace an instance.
  healthCheck: { command: ["bash", "/app/healthcheck.sh"], intervalSeconds: 2, timeoutSeconds: 60 },
});

/** What a run changes, from small to large. Each changes something every time. */
const changes: readonly ((version: number) => void)[] = [
  (version) => {
    stack.configure([hello("hello", version), hello("time", 0)]);
  },
  (version) => {
    stack.configure([hello("hello", version), hello("time", 0), hello(`extra-${version}`, 0)]);
  },
  // Replaces the load balancer.
  (version) => {
    stack.configure([hello("hello", 0), hello("time", 0)], { statsPort: 1937 + version });
  },
  // Replaces Consul, Registrator and the load balancer.
  (version) => {
    stack.configure([hello("hello", version), hello("time", 0)], { consulPort: 8600 + version });
  },
];

let before: Awaited<ReturnType<typeof belongings>>;

beforeAll(async () => {
  await claimEngineUntilRemoved(() => stack.remove());
  before = await belongings();
});
afterAll(tearDown);

test(
  `after each of ${kills} killed runs with seed ${seed}, the next one ends well`,
  async () => {
    const random = randomNumbers(seed);
    const failures: string[] = [];
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
    const urls = ["http://localhost/hello", "http://localhost/time"];
    for (let round = 0; round < kills; round++) {
      const killed = async (command: "up" | "down", maxMs: number): Promise<string> => {
        const afterMs = Math.round(500 + random() * maxMs);
        const signal = pick(["SIGKILL", "SIGHUP", "SIGTERM", "SIGINT"] as const);
        const only = pick(["everything", "the engine"] as const);
        const what = `round ${round}: ${command}, ${signal} for ${only} after ${afterMs} ms`;
        return `${what}\n${await stack.killed(command, afterMs, signal, only)}`;
      };
      const endsWell = async (command: "up" | "down", after: string): Promise<void> => {
        const { code, output } = await stack[command]();
        console.log(`${after.split("\n")[0] ?? ""}; the next ${command}: ${code}`);
        if (code !== 0) failures.push(`${after}\n--- ${command}\n${output}`);
        if (code !== 0) console.log(failures.at(-1));
        // What survived a killed engine.
        await killAll(() => processesWith(`${killedMark}=1`));
      };
      // Every second run starts from nothing.
      if (round > 0 && round % 2 === 0) await endsWell("down", await killed("down", 8_000));
      pick(changes)(round);
      const served = [];
      for (const url of urls) if ((await get(url)).status === 200) served.push(url);
      const load = served.map((url) => startLoad(url, { perSecond: 10, connections: 2 }));
      const what = await killed("up", 15_000);
      for (const url of served) {
        const { status, body } = await until(url, (answer) => answer.status === 200);
        if (status !== 200) failures.push(`${what}\n${url} no longer serves: ${status} ${body}`);
      }
      if (served.length === 0 && pick([true, false])) {
        await endsWell("down", what);
        // A Swarm or a volume that was not recorded stays, for the next `up`.
        const left = (await belongings())["containers"];
        if (!isDeepStrictEqual(left, before["containers"])) failures.push(`${what}\nleft: ${String(left)}`);
      }
      await endsWell("up", what);
      // For the reader only: a machine that is busy enough fails requests by itself.
      for (const [index, each] of load.entries()) {
        const { requests, failures: failed } = await each.stop();
        console.log(served[index], requests, JSON.stringify(failed));
      }
      for (const url of served.length > 0 ? served : urls) {
        const { status, body } = await until(url, (answer) => answer.status === 200);
        if (status !== 200) failures.push(`${what}\n${url}: ${status} ${body}`);
      }
    }
    expect(failures.join("\n\n")).toBe("");
    succeeded(await stack.up("--expect-no-changes"));
    succeeded(await stack.down());
    expect(await belongings()).toEqual(before);
  },
  (kills + 2) * 180_000,
);
