import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { bridgeAddressOf, engineProvider } from "./engine";
import { MachineError } from "../lib/errors";
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
  engine.answers["GET /containers/json"] = [];
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

describe("another stack on the engine", () => {
  const inputs = () => ({ host: engine.host, owner: "shop/dev" });
  const run = (...owners: string[]) => {
    engine.answers["GET /containers/json"] = owners.map((owner) => ({
      Labels: { "switchyard.owner": owner },
    }));
    engine.answers["GET /networks/bridge"] = { IPAM: { Config: [{ Gateway: "172.17.0.1" }] } };
    engine.answers["GET /info"] = { ID: "engine-1" };
  };
  const problems = async (olds: object, news: object = inputs()) => {
    const { failures = [] } = (await engineProvider.check?.(olds as never, news as never)) ?? {};
    return failures.map(({ reason }) => reason).join();
  };

  it("is named before anything is made, whether this stack is new or not", async () => {
    run("shop/dev", "other/\u001bdev");
    const sentence = 'already runs stack "other/\\u001bdev", and has room for one: remove';
    expect(await problems({})).toContain(sentence);
    expect(await problems(inputs())).toContain(sentence);
    await expect(engineProvider.create(inputs())).rejects.toThrow(sentence);
    await expect(engineProvider.update?.("", inputs() as never, inputs())).rejects.toThrow(sentence);
    expect(engine.calls.every(({ what }) => what.startsWith("GET "))).toBe(true);
  });

  it("of the same name, which this state does not know, is named with a way to take it over", async () => {
    run("shop/dev");
    expect(await problems({})).toContain(
      `docker -H ${engine.host} rm -f rest consul registrator docker-socket-proxy`,
    );
    expect(await problems(inputs())).toBe("");
    // States of earlier versions have no owner.
    expect(await problems({ host: engine.host })).toBe("");
  });

  it("is none if the engine has another URL now, or does not answer", async () => {
    run("shop/dev");
    const other = await fakeEngine();
    other.answers["GET /info"] = { ID: "engine-1" };
    expect(await problems({ ...inputs(), host: other.host })).toBe("");
    other.answers["GET /info"] = { ID: "engine-2" };
    expect(await problems({ ...inputs(), host: other.host })).toContain("this state does not know it");
    other.close();
    expect(await problems({}, { host: "unix:///nowhere/docker.sock" })).toBe("");
  });

  it("is none if this stack was renamed, also while its containers have the earlier name", async () => {
    run("shop/dev");
    const renamed = { ...inputs(), owner: "shop/production" };
    const { inputs: kept, failures } = (await engineProvider.check?.(inputs(), renamed)) ?? {};
    expect(failures).toEqual([]);
    expect(await problems(kept as object, renamed)).toBe("");
    expect(await problems({}, renamed)).toContain('stack "shop/dev"');
  });
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
  engine.answers["GET /containers/json"] = [];
  const previewed = await engineProvider.check?.({} as never, { host: engine.host });
  expect(previewed?.failures?.[0]?.reason).toContain("has live-restore on");
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

describe("a machine that could not set itself up", () => {
  const note = () => ({
    file: join(folder, "ssh", "failed.node-1"),
    content: "failed ssh-ed25519 AAAA\n",
    command: "script/up --replace node-1",
  });
  const asked = () => ({ host: "ssh://node1", readyFile: "/run/ready", failureNote: note() });
  beforeEach(() => {
    const status = { status: "error", extended_status: "error - done", errors: ["no archive"] };
    mkdirSync(join(folder, "bin"));
    const program = join(folder, "bin", "ssh");
    writeFileSync(program, `#!/bin/sh\ncat <<'END'\n${JSON.stringify(status, undefined, 2)}\nEND\n`);
    chmodSync(program, 0o755);
    vi.stubEnv("PATH", `${join(folder, "bin")}${delimiter}${process.env["PATH"] ?? ""}`);
  });

  it("is noted for the next update", async () => {
    await expect(engineProvider.create(asked())).rejects.toThrow(
      /could not set itself up: no archive\. .* replaces the machine \(from elsewhere: script\/up --replace node-1\)/,
    );
    expect(readFileSync(note().file, "utf8")).toBe(note().content);
  });

  it("cannot be asked by a refresh", async () => {
    const props = { ...asked(), bridgeAddress: "172.17.0.1" };
    await expect(engineProvider.read?.("ssh://node1", props)).rejects.toThrow(MachineError);
    // The note would be about the machine before.
    expect(existsSync(note().file)).toBe(false);
  });
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
