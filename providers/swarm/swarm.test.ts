import { afterEach, beforeEach, describe, expect, it } from "vitest";
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
  return {
    ID: "s1",
    Version: { Index: 7 },
    Spec: { Name: "default", Labels: labels },
    JoinTokens: { Manager: "m", Worker: "w" },
  };
}

function inputs() {
  return { host: engine.host, advertiseAddr: "192.0.2.1", owner: "stack" };
}

function state(created: boolean) {
  return { ...inputs(), swarmId: "s1", created };
}

const whats = () => engine.calls.map((call) => call.what);

describe("Swarm", () => {
  it("listens on the advertised address only, and records its owner and gateway network", async () => {
    engine.answers["GET /info"] = () => (whats().includes("POST /swarm/init") ? MANAGER : NONE);
    engine.answers["POST /swarm/init"] = "n1";
    engine.answers["GET /swarm"] = swarmOf({ "switchyard.owner": "stack" });
    const { id, outs } = await swarmProvider.create(inputs());
    expect(id).toBe("s1");
    expect(outs).toEqual({ ...inputs(), swarmId: "s1", created: true });
    expect(engine.calls.find((call) => call.what === "POST /swarm/init")?.body).toEqual({
      ListenAddr: "192.0.2.1:2377",
      AdvertiseAddr: "192.0.2.1",
      DefaultAddrPool: ["10.213.0.0/16"],
      SubnetSize: 24,
      Spec: {
        Labels: { "switchyard.owner": "stack", "switchyard.gateway-network": "made" },
        Orchestration: { TaskHistoryRetentionLimit: 2 },
      },
    });
  });

  it("gives its networks other addresses than the machine's", async () => {
    engine.answers["GET /info"] = () => (whats().includes("POST /swarm/init") ? MANAGER : NONE);
    engine.answers["POST /swarm/init"] = "n1";
    engine.answers["GET /swarm"] = swarmOf({});
    await swarmProvider.create({ ...inputs(), advertiseAddr: "10.213.0.5" });
    const init = engine.calls.find((call) => call.what === "POST /swarm/init");
    expect(init?.body).toMatchObject({ DefaultAddrPool: ["10.214.0.0/16"] });
  });

  it("uses an existing Swarm and never leaves it", async () => {
    engine.answers["GET /info"] = MANAGER;
    engine.answers["GET /swarm"] = swarmOf({});
    const { outs } = await swarmProvider.create(inputs());
    expect(outs?.created).toBe(false);
    await swarmProvider.delete?.("s1", state(false));
    expect(whats()).not.toContain("POST /swarm/leave");
  });

  it("explains how to remove a worker from another Swarm", async () => {
    engine.answers["GET /info"] = WORKER;
    await expect(swarmProvider.create(inputs())).rejects.toThrow(`docker -H ${engine.host} swarm leave`);
  });

  it("explains which address it needs if Docker rejects one", async () => {
    engine.answers["GET /info"] = NONE;
    engine.answers["POST /swarm/init"] = 400;
    await expect(swarmProvider.create(inputs())).rejects.toThrow(
      /192\.0\.2\.1: fake 400 \(400 for POST \/swarm\/init at unix:[^ )]*\)\. The address must be/,
    );
  });

  it.each([
    ["made", true],
    ["kept", false],
  ])(
    "leaves a Swarm that it created; removes a gateway network that was %s: %s",
    async (gateway, removed) => {
      engine.answers["GET /info"] = MANAGER;
      engine.answers["GET /swarm"] = swarmOf({ "switchyard.gateway-network": gateway });
      engine.answers["GET /services"] = [];
      engine.answers["GET /nodes"] = [{ Description: { Hostname: "a" }, Status: { State: "ready" } }];
      engine.answers["POST /swarm/leave"] = {};
      await swarmProvider.delete?.("s1", state(true));
      expect(whats()).toContain("POST /swarm/leave");
      expect(whats().includes("DELETE /networks/docker_gwbridge")).toBe(removed);
    },
  );

  it("is kept while it runs other services", async () => {
    engine.answers["GET /info"] = MANAGER;
    engine.answers["GET /swarm"] = swarmOf({});
    engine.answers["GET /services"] = [{ Spec: { Name: "theirs" } }];
    await expect(swarmProvider.delete?.("s1", state(true))).rejects.toThrow("service rm theirs");
    expect(whats()).not.toContain("POST /swarm/leave");
  });

  it.each([
    ["in no Swarm", NONE],
    ["in another Swarm", MANAGER],
  ])("is gone when the engine is %s", async (_case, info) => {
    engine.answers["GET /info"] = info;
    engine.answers["GET /swarm"] = { ...swarmOf({}), ID: "s2" };
    expect((await swarmProvider.read?.("s1", state(true)))?.id).toBe("");
    await swarmProvider.delete?.("s1", state(true));
    expect(whats()).not.toContain("POST /swarm/leave");
  });

  it("is replaced when its engine or address changes", async () => {
    engine.answers["GET /info"] = MANAGER;
    engine.answers["GET /swarm"] = swarmOf({});
    const moved = { ...inputs(), host: "unix:///other", advertiseAddr: "192.0.2.2" };
    expect((await swarmProvider.diff?.("s1", state(true), moved))?.replaces).toEqual([
      "host",
      "advertiseAddr",
    ]);
    expect((await swarmProvider.diff?.("s1", state(false), moved))?.replaces).toEqual(["host"]);
    expect((await swarmProvider.diff?.("s1", state(true), inputs()))?.changes).toBe(false);
  });

  it("does not move to one of its workers", async () => {
    engine.answers["GET /swarm"] = 503;
    engine.answers["GET /info"] = WORKER;
    const old = { ...state(true), host: "unix:///gone" };
    await expect(swarmProvider.diff?.("s1", old, inputs())).rejects.toThrow("Add a third node");
  });

  describe("with other managers", () => {
    let other: FakeEngine;
    beforeEach(async () => {
      other = await fakeEngine();
      other.answers["GET /info"] = MANAGER;
      other.answers["GET /swarm"] = swarmOf({ "switchyard.owner": "stack" });
      engine.answers["GET /info"] = NONE;
      engine.answers["GET /swarm"] = 503;
    });
    afterEach(() => {
      other.close();
    });
    const several = () => ({ ...inputs(), managers: [engine.host, other.host] });
    const old = () => ({ ...state(true), ...several() });

    it("is kept while the first one has to join again, at whichever address", async () => {
      expect((await swarmProvider.read?.("s1", old()))?.id).toBe("s1");
      expect(await swarmProvider.diff?.("s1", old(), several())).toMatchObject({
        changes: false,
        replaces: [],
      });
      const readdressed = { ...several(), advertiseAddr: "192.0.2.9" };
      expect(await swarmProvider.diff?.("s1", old(), readdressed)).toMatchObject({
        changes: true,
        replaces: [],
      });
      expect((await swarmProvider.update?.("s1", old(), readdressed))?.outs).toEqual({
        ...old(),
        advertiseAddr: "192.0.2.9",
      });
      expect(whats()).not.toContain("POST /swarm/init");
    });

    it("is kept if the first node becomes another one that is new", async () => {
      const before = { ...old(), host: "unix:///gone" };
      expect(await swarmProvider.diff?.("s1", before, several())).toMatchObject({
        changes: true,
        replaces: [],
      });
    });

    it("is kept if one does not answer, or starts", async () => {
      for (const answer of [500, { Swarm: { ...NONE.Swarm, LocalNodeState: "pending" } }]) {
        other.answers["GET /info"] = answer;
        expect((await swarmProvider.read?.("s1", old()))?.id).toBe("s1");
        expect((await swarmProvider.diff?.("s1", old(), several()))?.replaces).toEqual([]);
      }
    });

    it("is gone once all say so", async () => {
      other.answers["GET /info"] = NONE;
      expect((await swarmProvider.read?.("s1", old()))?.id).toBe("");
      expect((await swarmProvider.diff?.("s1", old(), several()))?.replaces).toEqual(["host"]);
    });
  });

  it("is replaced if its only manager lost its disk since the refresh, not if that cannot be reached", async () => {
    engine.answers["GET /info"] = NONE;
    expect((await swarmProvider.diff?.("s1", state(true), inputs()))?.replaces).toEqual(["host"]);
    engine.answers["GET /info"] = 500;
    expect((await swarmProvider.diff?.("s1", state(true), inputs()))?.changes).toBe(false);
  });

  it("moves in place to another manager", async () => {
    engine.answers["GET /swarm"] = swarmOf({ "switchyard.owner": "stack" });
    engine.answers["GET /info"] = MANAGER;
    const old = { ...state(true), host: "unix:///gone" };
    expect(await swarmProvider.diff?.("s1", old, inputs())).toMatchObject({ changes: true, replaces: [] });
    const { outs } = (await swarmProvider.update?.("s1", old, inputs())) ?? {};
    expect(outs).toMatchObject({ host: engine.host, created: true });
  });

  it("removes the join tokens that earlier versions kept in the state", async () => {
    engine.answers["GET /swarm"] = swarmOf({ "switchyard.owner": "stack" });
    engine.answers["GET /info"] = MANAGER;
    const old = { ...state(true), joinTokens: { manager: "m", worker: "w" } };
    expect(await swarmProvider.diff?.("s1", old, inputs())).toMatchObject({ changes: true, replaces: [] });
    expect(await swarmProvider.update?.("s1", old, inputs())).toEqual({ outs: state(true) });
    expect((await swarmProvider.read?.("s1", old))?.props).toEqual(state(true));
  });

  describe("ownership", () => {
    const update = (owner: string) =>
      swarmProvider.update?.("s1", { ...state(true), owner: "dev" }, { ...inputs(), owner });
    beforeEach(() => {
      engine.answers["GET /info"] = MANAGER;
      engine.answers["POST /swarm/update"] = {};
    });

    it("updates the label of an earlier version, which recorded only the stack", async () => {
      engine.answers["GET /swarm"] = () =>
        swarmOf({
          "switchyard.owner": whats().includes("POST /swarm/update") ? "shop/dev" : "dev",
          "switchyard.gateway-network": "made",
        });
      const news = { ...inputs(), owner: "shop/dev" };
      expect(await swarmProvider.diff?.("s1", { ...state(true), owner: "dev" }, news)).toMatchObject({
        changes: true,
        replaces: [],
      });
      expect((await update("shop/dev"))?.outs).toMatchObject({ created: true, owner: "shop/dev" });
      expect(engine.calls.find(({ what }) => what === "POST /swarm/update")?.body).toEqual({
        Name: "default",
        Labels: { "switchyard.owner": "shop/dev", "switchyard.gateway-network": "made" },
      });
    });

    it("uses the Swarm of a stack of the same name in another project, but neither relabels nor leaves it", async () => {
      engine.answers["GET /swarm"] = swarmOf({ "switchyard.owner": "bank/dev" });
      engine.answers["GET /services"] = [];
      engine.answers["GET /nodes"] = [];
      expect((await update("shop/dev"))?.outs).toMatchObject({ created: false });
      await swarmProvider.delete?.("s1", { ...state(true), owner: "shop/dev" });
      expect(whats()).not.toContain("POST /swarm/update");
      expect(whats()).not.toContain("POST /swarm/leave");
    });
  });
});
