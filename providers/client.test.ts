import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { api, connect, dockerCommand, runBySsh } from "./client";
import { fakeEngine, type FakeEngine } from "./fake-engine";

let engine: FakeEngine;
let folder: string;
beforeEach(async () => {
  engine = await fakeEngine();
  folder = mkdtempSync(join(tmpdir(), "ssh-"));
  vi.stubEnv("PATH", `${folder}${delimiter}${process.env["PATH"] ?? ""}`);
});
afterEach(() => {
  vi.unstubAllEnvs();
  engine.close();
  rmSync(folder, { recursive: true });
});

function fakeSsh(script: string): void {
  const file = join(folder, "ssh");
  writeFileSync(file, `#!/usr/bin/env node\n${script}`);
  chmodSync(file, 0o755);
}

describe("api", () => {
  it("sends query and body, and reports Docker's own message and status", async () => {
    engine.answers["POST /x"] = ({ body }: { body: unknown }) => body;
    const docker = connect(engine.host);
    expect(await api(docker, "POST", "/x", { query: { a: { b: ["c"] } }, body: { d: 1 } })).toEqual({ d: 1 });
    await expect(api(docker, "GET", "/y?z=%7D")).rejects.toMatchObject({
      message: `fake 404 (404 for GET /y at ${engine.host})`,
      statusCode: 404,
    });
  });

  it("retries a GET, but nothing else, while the Swarm's managers elect a leader", async () => {
    const electing = new Error("rpc error: code = DeadlineExceeded desc = context deadline exceeded");
    let left = 1;
    engine.answers["GET /services"] = () => (left-- > 0 ? electing : []);
    engine.answers["POST /services"] = electing;
    const docker = connect(engine.host);
    expect(await api(docker, "GET", "/services")).toEqual([]);
    await expect(api(docker, "POST", "/services")).rejects.toThrow("DeadlineExceeded");
    expect(engine.calls.map(({ what }) => what)).toEqual([
      "GET /services",
      "GET /services",
      "POST /services",
    ]);
  });

  it("connects with the user's ssh", async () => {
    engine.answers["GET /info"] = { Name: "far" };
    fakeSsh(`
      const { argv, stdin, stdout } = process;
      if (!argv.join(" ").endsWith("-p 2222 -- me@node1 docker system dial-stdio")) process.exit(1);
      const socket = require("net").connect("${engine.host.slice("unix://".length)}");
      stdin.pipe(socket);
      socket.pipe(stdout);`);
    expect(await api(connect("ssh://me@node1:2222"), "GET", "/info")).toEqual({ Name: "far" });
  });

  it("starts few connections to a machine at a time, and all in the end", async () => {
    engine.answers["GET /info"] = { Name: "far" };
    const log = join(folder, "log");
    fakeSsh(`
      const { appendFileSync } = require("fs");
      const { stdin, stdout } = process;
      appendFileSync("${log}", "1\\n");
      const socket = require("net").connect("${engine.host.slice("unix://".length)}");
      setTimeout(() => stdin.pipe(socket), 300);
      socket.on("data", (data) => {
        appendFileSync("${log}", "-1\\n");
        stdout.write(data);
      });
      socket.on("end", () => process.exit());`);
    const docker = connect("ssh://node2");
    const answers = await Promise.all(Array.from({ length: 20 }, () => api(docker, "GET", "/info")));
    expect(answers).toHaveLength(20);
    let starting = 0;
    const changes = readFileSync(log, "utf8").trim().split("\n").map(Number);
    expect(Math.max(...changes.map((change) => (starting += change)))).toBeLessThanOrEqual(4);
  });

  it("keeps Ctrl-C from ssh, whose connections this process may still need", async () => {
    fakeSsh(`
      const [, , group] = require("fs").readFileSync("/proc/self/stat", "utf8").split(") ")[1].split(" ");
      console.error(Number(group) === process.pid ? "a group of its own" : "the group of its parent");
      process.exit(255);`);
    await expect(api(connect("ssh://node1"), "GET", "/info")).rejects.toThrow("ssh: a group of its own");
  });

  it("reports the error output of ssh", async () => {
    fakeSsh(`console.error("Host\\x1b[2J key verification failed."); process.exit(255);`);
    await expect(api(connect("ssh://node1"), "GET", "/info")).rejects.toThrow(
      "ssh: Host key verification failed. (GET /info at ssh://node1)",
    );
    await expect(runBySsh({ host: "ssh://node1" }, ["ls", "/x"])).rejects.toThrow(
      "ssh ssh://node1 ls /x: Host key verification failed. (exit code 255)",
    );
  });

  it("is what commands for the user go through", () => {
    const engine = { host: "ssh://me@node1", sshOpts: ["-i", "key"] };
    expect(dockerCommand(engine, "service rm web")).toBe("ssh -i key ssh://me@node1 docker service rm web");
    expect(dockerCommand({ host: "tcp://node1:2376" }, "info")).toBe("docker -H tcp://node1:2376 info");
  });

  it("says who hung up", async () => {
    const server = createServer((socket) => socket.destroy());
    const path = join(folder, "docker.sock");
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await expect(api(connect(`unix://${path}`), "POST", "/services/create?x=1")).rejects.toThrow(
      `check that it is running there (POST /services/create at unix://${path})`,
    );
    server.close();
  });
});
