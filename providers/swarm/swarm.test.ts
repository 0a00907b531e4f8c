import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bridgeAddressOf, engineProvider } from "../engine";
import { fakeEngine, type FakeEngine } from "../fake-engine";
import { swarmProvider } from "./swarm";

let engine: FakeEngine;
beforeEach(async () => {
  engine = await fakeEngine();
});
afterEach(() => {
  engine.close();
});

const NONE = { Swarm: { LocalNodeState: "inactive", ControlAvailable: false, NodeID: "", Error: "" } };
const MANAGER = { Swarm: { LocalNodeState: "active", ControlAvailable: true, NodeID: "n1", Error: "" } };
const WORKER = { Swarm: { LocalNodeState: "active", ControlAvailable: false, NodeID: "n1", Error: "" } };

function swarmOf(labels: Record<string, string>): object {
  return { ID: "s1", Spec: { Labels: labels }, JoinTokens: { Manager: "m", Worker: "w" } };
}

function inputs() {
  return { host: engine.host, advertiseAddr: "192.0.2.1", owner: "stack" };
}

function state(created: boolean) {
  return { ...inputs(), swarmId: "s1", nodeId: "n1", created, joinTokens: { manager: "m", worker: "w" } };
}

const whats = () => engine.calls.map((call) => call.what);

describe("Swarm", () => {
  it("listens on the advertised address only, and notes whose it is and what was there before", async () => {
    engine.answers["GET /info"] = () => (whats().includes("POST /swarm/init") ? MANAGER : NONE);
    engine.answers["POST /swarm/init"] = "n1";
    engine.answers["GET /swarm"] = swarmOf({ "switchyard.owner": "stack" });
    const { id, outs } = await swarmProvider.create(inputs());
    expect(id).toBe("s1");
    expect(outs).toMatchObject({ created: true, nodeId: "n1", joinTokens: { manager: "m", worker: "w" } });
    expect(engine.calls.find((call) => call.what === "POST /swarm/init")?.body).toEqual({
      ListenAddr: "192.0.2.1:2377",
      AdvertiseAddr: "192.0.2.1",
      Spec: {
        Labels: { "switchyard.owner": "stack", "switchyard.gateway-network": "made" },
        Orchestration: { TaskHistoryRetentionLimit: 2 },
      },
    });
  });

  it("uses one that is there, and never leaves it", async () => {
    engine.answers["GET /info"] = MANAGER;
    engine.answers["GET /swarm"] = swarmOf({});
    const { outs } = await swarmProvider.create(inputs());
    expect(outs?.created).toBe(false);
    await swarmProvider.delete?.("s1", state(false));
    expect(whats()).not.toContain("POST /swarm/leave");
  });

  it("says how to get a worker out of another Swarm", async () => {
    engine.answers["GET /info"] = WORKER;
    await expect(swarmProvider.create(inputs())).rejects.toThrow(`docker -H ${engine.host} swarm leave`);
  });

  it("says what an address must be that Docker doesn't take", async () => {
    engine.answers["GET /info"] = NONE;
    engine.answers["POST /swarm/init"] = 400;
    await expect(swarmProvider.create(inputs())).rejects.toThrow(
      /192\.0\.2\.1: fake 400\. The address must be/,
    );
  });

  it.each([
    ["made", true],
    ["kept", false],
  ])("leaves its own; the gateway network that was %s goes: %s", async (gateway, goes) => {
    engine.answers["GET /info"] = MANAGER;
    engine.answers["GET /swarm"] = swarmOf({ "switchyard.gateway-network": gateway });
    engine.answers["GET /services"] = [];
    engine.answers["GET /nodes"] = [{ Description: { Hostname: "a" }, Status: { State: "ready" } }];
    engine.answers["POST /swarm/leave"] = {};
    await swarmProvider.delete?.("s1", state(true));
    expect(whats()).toContain("POST /swarm/leave");
    expect(whats().includes("DELETE /networks/docker_gwbridge")).toBe(goes);
  });

  it("stays while it runs what isn't ours", async () => {
    engine.answers["GET /info"] = MANAGER;
    engine.answers["GET /swarm"] = swarmOf({});
    engine.answers["GET /services"] = [{ Spec: { Name: "theirs" } }];
    await expect(swarmProvider.delete?.("s1", state(true))).rejects.toThrow("service rm theirs");
    expect(whats()).not.toContain("POST /swarm/leave");
  });

  it.each([
    ["in none", NONE],
    ["in another", MANAGER],
  ])("is gone when the engine is %s", async (_case, info) => {
    engine.answers["GET /info"] = info;
    engine.answers["GET /swarm"] = { ...swarmOf({}), ID: "s2" };
    expect((await swarmProvider.read?.("s1", state(true)))?.id).toBe("");
    await swarmProvider.delete?.("s1", state(true));
    expect(whats()).not.toContain("POST /swarm/leave");
  });

  it("moves by replacement", async () => {
    const moved = { ...inputs(), host: "unix:///other", advertiseAddr: "192.0.2.2" };
    expect((await swarmProvider.diff?.("s1", state(true), moved))?.replaces).toEqual([
      "host",
      "advertiseAddr",
    ]);
    expect((await swarmProvider.diff?.("s1", state(false), moved))?.replaces).toEqual(["host"]);
    expect((await swarmProvider.diff?.("s1", state(true), inputs()))?.changes).toBe(false);
  });

  it("does not move to a node that is only a worker of it", async () => {
    engine.answers["GET /swarm"] = 503;
    engine.answers["GET /info"] = WORKER;
    const old = { ...state(true), host: "unix:///gone" };
    await expect(swarmProvider.diff?.("s1", old, inputs())).rejects.toThrow("Add a third node");
  });

  it("stays where another manager of it takes over", async () => {
    engine.answers["GET /swarm"] = swarmOf({ "switchyard.owner": "stack" });
    engine.answers["GET /info"] = MANAGER;
    const old = { ...state(true), host: "unix:///gone" };
    expect(await swarmProvider.diff?.("s1", old, inputs())).toEqual({ changes: true, replaces: [] });
    const { outs } = (await swarmProvider.update?.("s1", old, inputs())) ?? {};
    expect(outs).toMatchObject({ host: engine.host, created: true });
  });
});

describe("DockerEngine", () => {
  it("waits until Docker answers", async () => {
    let times = 0;
    engine.answers["GET /info"] = () => (++times < 3 ? 500 : { Name: "here" });
    engine.answers["GET /version"] = { ApiVersion: "1.41", Version: "20.10" };
    engine.answers["GET /networks/bridge"] = { IPAM: { Config: [{ Subnet: "172.17.0.0/16" }] } };
    const { outs } = await engineProvider.create({ host: engine.host, timeoutSeconds: 5 });
    expect(outs).toMatchObject({ hostname: "here", bridgeAddress: "172.17.0.1", apiVersion: "1.41" });
  });

  it("names the host and the command to try", async () => {
    const host = "unix:///nowhere/docker.sock";
    await expect(engineProvider.create({ host, timeoutSeconds: 0 })).rejects.toThrow(
      /nowhere\/docker\.sock did not answer within 0 s .*docker -H unix:\/\/\/nowhere\/docker\.sock info/,
    );
  });

  it.each(["docker.example", "ssh://", "http://x:1"])("refuses %j at once", async (host) => {
    await expect(engineProvider.create({ host })).rejects.toThrow("is not a Docker URL");
  });

  it("says so when there's no bridge, without waiting", async () => {
    engine.answers["GET /info"] = { Name: "here" };
    engine.answers["GET /version"] = {};
    await expect(engineProvider.create({ host: engine.host })).rejects.toThrow("no default bridge network");
  });

  it.each([
    ["10.1.2.3", [{ Subnet: "10.1.2.0/24", Gateway: "10.1.2.3" }]],
    ["172.17.0.1", [{ Subnet: "fd00::/64", Gateway: "fd00::1" }, { Subnet: "172.17.0.0/16" }]],
    [undefined, null],
  ])("finds the bridge's address %s", (address, Config) => {
    expect(bridgeAddressOf({ IPAM: { Config } })).toBe(address);
  });
});
