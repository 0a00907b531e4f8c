import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, request, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { addressOf } from "./server";

const folder = mkdtempSync(join(tmpdir(), "hello-"));
const bundle = join(folder, "main.js");
const running: ChildProcess[] = [];

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: Record<string, unknown>;
}

beforeAll(() => {
  const entryPoints = [join(__dirname, "main.ts")];
  buildSync({
    entryPoints,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "cjs",
    outfile: bundle,
  });
});
afterEach(() => {
  for (const child of running.splice(0)) child.kill("SIGKILL");
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Starts the service on a free port, the way its image does. */
async function start(env: Record<string, string> = {}): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(process.execPath, [bundle], {
    env: { PORT: "0", NAME: "hello", VERSION: "v1", ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  running.push(child);
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.on("data", (chunk: Buffer) => {
      const found = /listening on port (\d+)/.exec(chunk.toString())?.[1];
      if (found !== undefined) resolve(Number(found));
    });
    child.on("exit", () => {
      reject(new Error("hello exited before it listened"));
    });
  });
  return { child, port };
}

function ask(
  port: number,
  path: string,
  {
    method = "GET",
    headers = {},
    agent,
  }: { method?: string; headers?: Record<string, string>; agent?: Agent } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { port, path, method, headers, ...(agent ? { agent } : { agent: false }) },
      (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("end", () => {
          const body = (text === "" ? {} : JSON.parse(text)) as Record<string, unknown>;
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
        });
      },
    );
    asked.on("error", reject);
    asked.end();
  });
}

describe("hello", () => {
  it("describes the instance on any path", async () => {
    const { port, child } = await start();
    const { status, body } = await ask(port, "/a/b?c=d", {
      headers: { "x-forwarded-prefix": "/hello/v1", "x-request-id": "42", cookie: "secret" },
    });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      service: "hello",
      version: "v1",
      path: "/a/b",
      instance: { port, pid: child.pid, node: process.version },
      headers: { "x-forwarded-prefix": "/hello/v1", "x-request-id": "42" },
    });
    expect(body["headers"]).not.toHaveProperty("cookie");
    expect(Math.abs(Date.parse(String(body["timestamp"])) - Date.now())).toBeLessThan(5000);
  });

  it("answers HEAD and /health, and rejects other methods", async () => {
    const { port } = await start();
    expect((await ask(port, "/", { method: "HEAD" })).status).toBe(200);
    expect((await ask(port, "/health")).body).toEqual({ status: "ok" });
    expect((await ask(port, "/", { method: "POST" })).status).toBe(405);
  });

  it("fails its health checks, keeps serving, finishes running requests and exits with 0", async () => {
    const { child, port } = await start({ DRAIN_SECONDS: "0.6" });
    const agent = new Agent({ keepAlive: true });
    await ask(port, "/", { agent });
    const inFlight = ask(port, "/?wait=1500", { headers: { "x-forwarded-for": "192.0.2.1" } });
    await ask(port, "/");
    const signalled = Date.now();
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    await expect.poll(async () => (await ask(port, "/health")).status, { interval: 20 }).toBe(503);

    expect((await ask(port, "/", { method: "HEAD" })).status).toBe(503);
    const fromClient = await ask(port, "/", { method: "HEAD", headers: { "x-forwarded-for": "192.0.2.1" } });
    expect(fromClient.status).toBe(200);
    const onOldConnection = await ask(port, "/", { agent });
    expect(onOldConnection.status).toBe(200);
    expect(onOldConnection.headers.connection).toBe("close");
    expect((await ask(port, "/")).status).toBe(200);

    expect((await inFlight).status).toBe(200);
    expect(Date.now() - signalled).toBeGreaterThan(600);
    expect(await ended).toEqual([0, null]);
    await expect(ask(port, "/")).rejects.toThrow("ECONNREFUSED");
  });

  it("exits within the grace period even if a request never ends", async () => {
    const { child, port } = await start({ DRAIN_SECONDS: "0", GRACE_SECONDS: "1" });
    const hanging = ask(port, "/?wait=60000");
    hanging.catch(() => undefined);
    await ask(port, "/");
    const ended = once(child, "exit");
    const signalled = Date.now();
    child.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
    expect(Date.now() - signalled).toBeLessThan(2000);
    await expect(hanging).rejects.toThrow();
  });

  it("names an invalid setting", async () => {
    const child = spawn(process.execPath, [bundle], {
      env: { PORT: "http" },
      stdio: ["ignore", "ignore", "pipe"],
    });
    const [chunk] = (await once(child.stderr, "data")) as [Buffer];
    expect(chunk.toString()).toContain("PORT=http");
    expect((await once(child, "exit"))[0]).toBe(1);
  });
});

it("finds the address that other containers see", () => {
  const base = { netmask: "", mac: "", cidr: null };
  expect(
    addressOf({
      lo: [{ ...base, address: "127.0.0.1", family: "IPv4", internal: true }],
      eth0: [
        { ...base, address: "fe80::1", family: "IPv6", internal: false, scopeid: 0 },
        { ...base, address: "172.17.0.2", family: "IPv4", internal: false },
      ],
    }),
  ).toBe("172.17.0.2");
  expect(addressOf({})).toBeUndefined();
});
