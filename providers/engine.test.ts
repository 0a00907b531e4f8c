import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { bridgeAddressOf, engineProvider } from "./engine";
import { fakeEngine, type FakeEngine } from "./fake-engine";

let engine: FakeEngine;
let folder: string;
beforeEach(async () => {
  engine = await fakeEngine();
  engine.answers["GET /info"] = { LiveRestoreEnabled: false };
  folder = mkdtempSync(join(tmpdir(), "ssh-"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  engine.close();
  rmSync(folder, { recursive: true });
});

it("waits until Docker answers", async () => {
  let times = 0;
  const bridge = { IPAM: { Config: [{ Subnet: "172.17.0.0/16" }] } };
  engine.answers["GET /networks/bridge"] = () => (++times < 3 ? 500 : bridge);
  const { outs } = await engineProvider.create({ host: engine.host, timeoutSeconds: 5 });
  expect(outs).toEqual({ host: engine.host, timeoutSeconds: 5, bridgeAddress: "172.17.0.1" });
});

it("names the host and the command to try", async () => {
  const host = "unix:///nowhere/docker.sock";
  await expect(engineProvider.create({ host, timeoutSeconds: 0 })).rejects.toThrow(
    /nowhere\/docker\.sock did not answer within 0 s .*docker -H unix:\/\/\/nowhere\/docker\.sock info/,
  );
});

it.each(["docker.example", "ssh://", "http://x:1"])("rejects %j immediately", async (host) => {
  await expect(engineProvider.create({ host })).rejects.toThrow("is not a Docker URL");
});

it("reports a missing bridge without waiting", async () => {
  await expect(engineProvider.create({ host: engine.host })).rejects.toThrow("no default bridge network");
});

it("rejects live-restore, with which there is no Swarm, without waiting", async () => {
  engine.answers["GET /networks/bridge"] = { IPAM: { Config: [{ Subnet: "172.17.0.0/16" }] } };
  engine.answers["GET /info"] = { LiveRestoreEnabled: true };
  await expect(engineProvider.create({ host: engine.host })).rejects.toThrow(
    /has live-restore on, .*write "live-restore": false into/,
  );
});

it.each([
  ["10.1.2.3", [{ Subnet: "10.1.2.0/24", Gateway: "10.1.2.3" }]],
  ["172.17.0.1", [{ Subnet: "fd00::/64", Gateway: "fd00::1" }, { Subnet: "172.17.0.0/16" }]],
  [undefined, null],
])("finds the bridge's address %s", (address, Config) => {
  expect(bridgeAddressOf({ IPAM: { Config } })).toBe(address);
});

it("reports no change for a state of an earlier version with more outputs", async () => {
  const inputs = { host: engine.host, sshOpts: ["-4"] };
  const olds = { ...inputs, bridgeAddress: "172.17.0.1", hostname: "here", apiVersion: "1.41" };
  expect(await engineProvider.diff?.("", olds, inputs)).toEqual({ changes: false, replaces: [] });
});

describe("an SSH connection that hangs", () => {
  beforeEach(() => {
    const file = join(folder, "ssh");
    writeFileSync(file, "#!/usr/bin/env node\nsetInterval(() => undefined, 1e6);");
    chmodSync(file, 0o755);
    vi.stubEnv("PATH", `${folder}${delimiter}${process.env["PATH"] ?? ""}`);
  });

  it.each([
    ["Docker answers", {}],
    ["the machine is set up", { readyFile: "/run/ready" }],
  ])("does not extend the time limit while waiting until %s", async (_case, more) => {
    const started = Date.now();
    const inputs = { host: "ssh://node1", timeoutSeconds: 1, ...more };
    await expect(engineProvider.create(inputs)).rejects.toThrow(
      /Docker at ssh:\/\/node1 did not answer within 1 s \(ssh/,
    );
    expect(Date.now() - started).toBeLessThan(3000);
  });
});
