import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import * as net from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { ConsulAlone } from "./balancer";
import { buildImage } from "./images";
import { scratch } from "./scratch";
import { afterwards, tearDown } from "./tear-down";

// Registrator on its own, with the real engine and a separate Consul. It uses ports 22000 to 22999.

const image = "switchyard/registrator:e2e-alone";
const node = "rg-t-node";
const consul = "127.0.0.1:22500";
const context = join(__dirname, "../../templates/registrator");
const folder = scratch().path;

function docker(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync("docker", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`docker ${args.join(" ")}: ${stderr}`);
  return stdout.trim();
}

/** Runs docker without waiting, so that containers can start in parallel as in a real deployment. */
function dockerLater(...args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    spawn("docker", args, { stdio: "ignore" }).on("exit", (code) => {
      if (code === 0) resolve();
      else reject(new Error(`docker ${args.join(" ")}`));
    });
  });
}

const server = "require('http').createServer((q,r)=>r.end('ok')).listen(8080);";
const drains = `${server}process.on('SIGTERM',()=>setTimeout(()=>process.exit(0),1500))`;
const ignores = `${server}process.on('SIGTERM',()=>{})`;

function runArgs(name: string, flags: readonly string[] = [], code = server): string[] {
  const own = ["--name", `rg-t-${name}`, "-p", "8080", "-e", `SERVICE_NAME=rg-t/${name}`];
  return ["run", "-d", "--init", ...own, ...flags, "--entrypoint", "node", image, "-e", code];
}
const run = (name: string, flags: readonly string[] = [], code = server) =>
  docker(...runArgs(name, flags, code));
const idOf = (name: string) => `${node}:rg-t-${name}:8080`;

async function ask<T>(path: string, method = "GET", body?: unknown): Promise<T> {
  const response = await fetch(`http://${consul}/v1/${path}`, {
    method,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${text}`);
  return (text ? JSON.parse(text) : undefined) as T;
}

interface Entry {
  readonly Service: {
    readonly ID: string;
    readonly Port: number;
    readonly Meta: Record<string, string>;
    readonly ModifyIndex: number;
  };
  readonly Checks: readonly { readonly CheckID: string; readonly Status: string }[];
}
const entries = (name: string) => ask<Entry[]>(`health/service/rg-t/${name}`);
const count = async (name: string) => (await entries(name)).length;
const health = async (name: string) =>
  (await entries(name))[0]?.Checks.find(({ CheckID }) => CheckID.startsWith("service:"))?.Status;

/** Waits until the condition holds and returns how many milliseconds that took. */
async function until(holds: () => Promise<boolean>, withinMs = 5_000): Promise<number> {
  const start = performance.now();
  for (;;) {
    if (await holds().catch(() => false)) return performance.now() - start;
    if (performance.now() - start > withinMs)
      throw new Error(`not within ${withinMs} ms: ${holds.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
/** The time at which a blocking query first shows the service, in milliseconds since 1970. */
async function firstSeen(name: string): Promise<number> {
  for (let index = "0"; ;) {
    const answer = await fetch(`http://${consul}/v1/health/service/rg-t/${name}?index=${index}&wait=5s`);
    const at = performance.timeOrigin + performance.now();
    if (((await answer.json()) as unknown[]).length > 0) return at;
    index = answer.headers.get("x-consul-index") ?? "0";
  }
}

/** Waits until the service is registered and its process listens: before that, it has no signal handlers. */
async function answers(name: string): Promise<void> {
  await until(there(name));
  const port = (await entries(name))[0]?.Service.Port ?? 0;
  await until(async () => (await fetch(`http://127.0.0.1:${port}`)).ok);
}
const gone = (name: string) => async () => (await count(name)) === 0;
const there = (name: string) => async () => (await count(name)) === 1;

/** A proxy for the engine's socket whose connections can be cut. */
class Proxy {
  readonly path = join(folder, "docker.sock");
  private readonly open = new Set<net.Socket>();
  private server: net.Server | undefined;

  listen(): Promise<void> {
    this.server = net.createServer((client) => {
      const engine = net.connect("/var/run/docker.sock");
      for (const [from, to] of [[client, engine] as const, [engine, client] as const]) {
        this.open.add(from);
        from.pipe(to);
        from.on("error", () => to.destroy());
        from.on("close", () => this.open.delete(from) && to.destroy());
      }
    });
    return new Promise((resolve) => this.server?.listen(this.path, resolve));
  }

  cut(): void {
    for (const socket of this.open) socket.destroy();
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.server?.close(resolve));
    this.cut();
    await closed;
  }
}

const startConsul = () => ConsulAlone.start({ name: "rg-t", port: 22_500 });

let consulServer: ConsulAlone;
let registrator: ChildProcess;
let log = "";
const proxy = new Proxy();

function startRegistrator(flags: readonly string[] = ["-kill-grace=2"]): void {
  log = "";
  const args = ["--hostname", node, "-ip=127.0.0.1", ...flags, `consul://${consul}`];
  registrator = spawn(process.execPath, [join(context, "dist/main.js"), ...args], {
    env: { ...process.env, DOCKER_HOST: `unix://${proxy.path}` },
    stdio: ["ignore", "pipe", "inherit"],
  });
  registrator.stdout?.on("data", (chunk: Buffer) => (log += chunk.toString()));
}
async function stopRegistrator(): Promise<void> {
  const ended = new Promise((resolve) => registrator.once("exit", resolve));
  registrator.kill("SIGTERM");
  await ended;
}

const remove = () => {
  const all = docker("ps", "-aq", "--filter", "name=^rg-t-", "--filter", `ancestor=${image}`).split("\n");
  // Ignore the result: a container started with --rm may already be removing itself.
  if (all[0]) spawnSync("docker", ["rm", "-f", "-v", ...all]);
};

beforeAll(async () => {
  await buildImage("registrator", image);
  consulServer = await startConsul();
  await proxy.listen();
  afterwards(() => proxy.close());
});
afterAll(tearDown);
beforeEach(async () => {
  startRegistrator();
  await until(() => Promise.resolve(log.includes("following the events")));
});
afterEach(async () => {
  await stopRegistrator();
  remove();
});

describe("containers", () => {
  it("are registered within 100 ms of their start", async () => {
    const starts = new Map<string, number>();
    const format = ["--format", "{{.Actor.Attributes.name}} {{.TimeNano}}"];
    const since = ["--since", String(Math.floor(Date.now() / 1000))];
    const events = spawn("docker", ["events", ...since, "--filter", "event=start", ...format]);
    createInterface(events.stdout).on("line", (line) => {
      const [name = "", at] = line.split(" ");
      starts.set(name, Number(at) / 1e6);
    });
    const delays: number[] = [];
    for (let round = 0; round < 20; round++) {
      const name = `quick${round}`;
      const seen = firstSeen(name);
      await dockerLater(...runArgs(name));
      await until(() => Promise.resolve(starts.has(`rg-t-${name}`)));
      delays.push((await seen) - (starts.get(`rg-t-${name}`) ?? NaN));
    }
    events.kill();
    delays.sort((a, b) => a - b);
    const [median = NaN, p95 = NaN] = [delays[9], delays[18]];
    console.log(`start event to Consul: median ${median.toFixed(1)} ms, p95 ${p95.toFixed(1)} ms`);
    expect(median).toBeLessThan(100);
  });

  it("are deregistered at SIGTERM, before they exit", async () => {
    const id = run("stop", [], drains);
    await answers("stop");
    const stopped = dockerLater("stop", "rg-t-stop");
    expect(await until(gone("stop"))).toBeLessThan(1_000);
    expect(docker("inspect", "-f", "{{.State.Running}}", id)).toBe("true");
    await stopped;
    docker("start", "rg-t-stop");
    await until(there("stop"));
  });

  it("stay registered at SIGHUP and return when they survive SIGTERM", async () => {
    run("kill", [], `${ignores};process.on('SIGHUP',()=>{})`);
    await answers("kill");
    docker("kill", "-s", "HUP", "rg-t-kill");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await count("kill")).toBe(1);
    docker("kill", "-s", "TERM", "rg-t-kill");
    await until(gone("kill"), 500);
    expect(await until(there("kill"))).toBeGreaterThan(1_000);
    docker("rm", "-f", "rg-t-kill");
    await until(gone("kill"));
  });

  it("stay deregistered until they have ended or shown that they go on, even if Registrator restarts", async () => {
    await stopRegistrator();
    startRegistrator([]);
    const check = ["--health-cmd", "true", "--health-interval", "1s"];
    const drains20s = `${server}process.on('SIGTERM',()=>setTimeout(()=>process.exit(0),20000))`;
    run("slow", ["--stop-timeout", "10"], drains20s);
    run("checked", ["--stop-timeout", "10", ...check], drains20s);
    run("survivor", check, ignores);
    const names = ["slow", "checked", "survivor"];
    await Promise.all(names.map(answers));
    const toldAt = performance.now();
    const stopped = [
      dockerLater("stop", "-t", "40", "rg-t-slow"),
      dockerLater("stop", "-t", "40", "rg-t-checked"),
      dockerLater("kill", "-s", "TERM", "rg-t-survivor"),
    ];
    await Promise.all(names.map((name) => until(gone(name))));
    let isRestarted = false;
    while (performance.now() - toldAt < 19_000) {
      expect(await Promise.all(names.map(count))).toEqual([0, 0, 0]);
      if (!isRestarted && performance.now() - toldAt > 5_000) {
        isRestarted = true;
        await stopRegistrator();
        startRegistrator([]);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(docker("inspect", "-f", "{{.State.Running}}", "rg-t-slow")).toBe("true");
    expect(log).toContain("container rg-t-slow: it was told to stop and may still end");
    await Promise.all(stopped);
    await until(there("survivor"), 70_000);
    expect(performance.now() - toldAt).toBeGreaterThan(60_000);
    expect(log).toMatch(/container rg-t-survivor passes its health check \d+ s after its stop signal/);
  });

  it("are deregistered while paused, and no comparison brings them back", async () => {
    run("pause");
    await until(there("pause"));
    docker("pause", "rg-t-pause");
    await until(gone("pause"));
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    expect(await count("pause")).toBe(0);
    docker("unpause", "rg-t-pause");
    await until(there("pause"));
  });

  it("are registered again under their new name", async () => {
    run("old");
    await until(there("old"));
    docker("rename", "rg-t-old", "rg-t-new");
    await until(
      async () => (await entries("old"))[0]?.Service.ID === idOf("new") && (await count("old")) === 1,
    );
  });

  it("use Docker's HEALTHCHECK as their check", async () => {
    run("health", ["--health-cmd", "test -f /tmp/ok", "--health-interval", "0.5s", "--health-retries", "1"]);
    await until(there("health"));
    expect(await health("health")).toBe("warning");
    docker("exec", "rg-t-health", "touch", "/tmp/ok");
    await until(async () => (await health("health")) === "passing");
    await stopRegistrator();
    docker("exec", "rg-t-health", "rm", "/tmp/ok");
    await until(() =>
      Promise.resolve(docker("inspect", "-f", "{{.State.Health.Status}}", "rg-t-health") === "unhealthy"),
    );
    expect(await health("health")).toBe("passing");
    startRegistrator();
    await until(async () => (await health("health")) === "critical");
  });

  it("stay in maintenance mode over a restart, until somebody ends it", async () => {
    run("maint", ["--health-cmd", "true", "--health-interval", "0.5s"]);
    const passes = async () => (await health("maint")) === "passing";
    await until(passes);
    const mode = async () =>
      (await entries("maint"))[0]?.Checks.find(({ CheckID }) => CheckID.startsWith("_service"));
    const set = (query: string) => ask(`agent/service/maintenance/${idOf("maint")}?${query}`, "PUT");
    await set("enable=true&reason=upgrade");
    let slipped = 0;
    const watch = setInterval(() => {
      void ask<unknown[]>("health/service/rg-t/maint?passing").then(({ length }) => (slipped += length));
    }, 10);
    docker("stop", "-t", "1", "rg-t-maint");
    await until(gone("maint"));
    docker("start", "rg-t-maint");
    await until(passes);
    clearInterval(watch);
    expect(await mode()).toMatchObject({ Status: "critical", Notes: "upgrade" });
    expect(slipped).toBe(0);
    await set("enable=false");
    await until(async () => (await mode()) === undefined);
    docker("restart", "-t", "1", "rg-t-maint");
    await until(passes);
    expect(await mode()).toBeUndefined();
  });

  it("start and stop thirty at once, and a short-lived one leaves no service behind", async () => {
    const names = Array.from({ length: 30 }, (_, index) => `many${index}`);
    const start = async (list: string[]): Promise<void> => {
      for (const name of list)
        await dockerLater(...runArgs(name, ["--rm", "-e", "SERVICE_8080_NAME=rg-t/many"]));
    };
    await Promise.all([0, 1, 2].map((part) => start(names.slice(part * 10, part * 10 + 10))));
    expect(await until(async () => (await count("many")) === 30)).toBeLessThan(1_000);
    await Promise.all([
      dockerLater("rm", "-f", ...names.map((name) => `rg-t-${name}`)),
      dockerLater(...runArgs("short", ["--rm", "-e", "SERVICE_8080_NAME=rg-t/many"], "process.exit(0)")),
    ]);
    await until(gone("many"));
  });
});

describe("failures", () => {
  it("removes stale services, leaves others' services and does not rewrite correct ones", async () => {
    run("right", ["-e", "SERVICE_TAGS=a,b", "-e", "SERVICE_WEIGHT=2"]);
    run("own", ["-e", "SERVICE_ID=rg-t-chosen"]);
    await until(there("right"));
    await until(there("own"), 8_000);
    await stopRegistrator();
    expect(await count("right")).toBe(1);
    docker("rm", "-f", "rg-t-own");
    const [before] = await entries("right");
    const put = (ID: string, Name: string) => ask("agent/service/register", "PUT", { ID, Name, Port: 1 });
    await put(`${node}:gone.1:80`, "rg-t/stale");
    await put("other-node:gone.1:80", "rg-t/foreign");
    startRegistrator();
    await until(gone("stale"));
    await until(gone("own"));
    await new Promise((resolve) => setTimeout(resolve, 4_500));
    expect(await count("foreign")).toBe(1);
    const [after] = await entries("right");
    expect(after?.Service.ModifyIndex).toBe(before?.Service.ModifyIndex);
    expect(log).not.toContain("registered rg-t/right");
    await ask("agent/service/deregister/other-node:gone.1:80", "PUT");
  });

  it("registers everything again in an emptied Consul", async () => {
    run("wiped");
    await until(there("wiped"));
    await consulServer.stop();
    run("meanwhile");
    consulServer = await startConsul();
    const took = await until(there("wiped"));
    await until(there("meanwhile"));
    console.log(`in an emptied Consul again ${took.toFixed(0)} ms after its election`);
    expect(took).toBeLessThan(2_500);
    await ask(`agent/service/deregister/${idOf("wiped")}`, "PUT");
    expect(await until(there("wiped"))).toBeLessThan(2_500);
  });

  it("deregisters nothing when the engine is lost, and catches up when it returns", async () => {
    run("stays");
    run("leaves");
    await until(there("leaves"));
    proxy.cut();
    await until(() => Promise.resolve(log.split("following the events").length === 3));
    await proxy.close();
    docker("rm", "-f", "rg-t-leaves");
    run("arrives");
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    expect([await count("stays"), await count("leaves"), await count("arrives")]).toEqual([1, 1, 0]);
    await proxy.listen();
    await until(there("arrives"), 8_000);
    await until(gone("leaves"));
    expect(await count("stays")).toBe(1);
  });

  it("a hostile container does not affect the others", async () => {
    run("hostile", ["-e", "SERVICE_8080_NAME=a//../b\tc"]);
    run("victim");
    run("thief", ["-e", `SERVICE_ID=${idOf("victim")}`]);
    run("meta", ["-e", "SERVICE_BAD KEY=1", "-e", "SERVICE_GOOD=1", "-e", `SERVICE_LONG=${"x".repeat(600)}`]);
    run("script", ["-e", "SERVICE_CHECK_SCRIPT=true"]);
    await until(there("victim"));
    await until(there("meta"));
    await until(there("script"));
    expect((await entries("meta"))[0]?.Service.Meta).toEqual({ good: "1" });
    for (const line of [
      /container rg-t-hostile, port 8080: not registered as "a\/\/\.\.\/b\\u0009c"/,
      /container rg-t-thief: not registered as rg-t\/thief: its ID, /,
      /container rg-t-script: Consul refused .*Scripts are disabled.*without its check/,
    ])
      await expect.poll(() => log, { timeout: 20_000 }).toMatch(line);
    expect(await count("thief")).toBe(0);
    const said = log.length;
    await new Promise((resolve) => setTimeout(resolve, 4_500));
    const later = log.slice(said).split("\n");
    expect(later.filter((line) => line.includes("rg-t-"))).toEqual([]);
  });
});
