import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fakeEngine, type FakeEngine } from "../fake-engine";
import { memberProvider } from "./member";

let own: FakeEngine;
let manager: FakeEngine;
beforeEach(async () => {
  [own, manager] = await Promise.all([fakeEngine(), fakeEngine()]);
  manager.answers["GET /swarm"] = { ID: "s1", JoinTokens: { Manager: "m", Worker: "w" } };
  manager.answers["GET /info"] = { Swarm: { NodeAddr: "192.0.2.1", ControlAvailable: true } };
  manager.answers["GET /tasks"] = [];
});
afterEach(() => {
  own.close();
  manager.close();
});

const info = (LocalNodeState: string, ControlAvailable = false) => ({
  Swarm: { LocalNodeState, ControlAvailable, NodeID: LocalNodeState === "active" ? "n2" : "", Error: "" },
});
const inputs = (role: "manager" | "worker" = "worker") => ({
  host: own.host,
  advertiseAddr: "192.0.2.2",
  swarmId: "s1",
  role,
  managers: [manager.host, own.host],
});
const state = () => ({ ...inputs(), nodeId: "n2", gatewayMade: true });
const node = (Role = "worker", State = "ready") => ({
  ID: "n2",
  Version: { Index: 7 },
  Spec: { Role, Availability: "active" },
  Status: { State },
  ...(Role === "manager" && { ManagerStatus: {} }),
});
const whats = (engine: FakeEngine) => engine.calls.map(({ what }) => what);
const bodyOf = (engine: FakeEngine, wanted: string) => engine.calls.find(({ what }) => what === wanted)?.body;

describe("SwarmMember", () => {
  it.each([
    ["worker", "w"],
    ["manager", "m"],
  ] as const)("joins as a %s", async (role, token) => {
    own.answers["GET /info"] = () => info(whats(own).includes("POST /swarm/join") ? "active" : "inactive");
    own.answers["POST /swarm/join"] = {};
    manager.answers["GET /nodes/n2"] = node(role);
    const { id, outs } = await memberProvider.create(inputs(role));
    expect(id).toBe("n2");
    expect(outs).toMatchObject({ gatewayMade: true });
    expect(bodyOf(own, "POST /swarm/join")).toEqual({
      ListenAddr: "192.0.2.2:2377",
      AdvertiseAddr: "192.0.2.2",
      RemoteAddrs: ["192.0.2.1:2377"],
      JoinToken: token,
    });
  });

  it("accepts a node that is already in the Swarm, and rejects one in another Swarm", async () => {
    own.answers["GET /info"] = info("active");
    manager.answers["GET /nodes/n2"] = node();
    await memberProvider.create(inputs());
    expect(whats(own)).not.toContain("POST /swarm/join");
    manager.answers["GET /nodes/n2"] = 404;
    await expect(memberProvider.create(inputs())).rejects.toThrow(
      `docker -H ${own.host} swarm leave --force`,
    );
  });

  it.each([
    ["made", true],
    ["kept", false],
  ])(
    "remembers whether creating the Swarm made the gateway network (%s): %s",
    async (gateway, gatewayMade) => {
      own.answers["GET /info"] = info("active", true);
      own.answers["GET /swarm"] = { ID: "s1", Spec: { Labels: { "switchyard.gateway-network": gateway } } };
      own.answers["GET /nodes/n2"] = node("manager");
      const first = { ...inputs("manager"), managers: [own.host] };
      expect((await memberProvider.create(first)).outs).toMatchObject({ gatewayMade });
    },
  );

  it("names the managers that do not answer", async () => {
    own.answers["GET /info"] = info("inactive");
    manager.answers["GET /swarm"] = 503;
    await expect(memberProvider.create(inputs())).rejects.toThrow(
      `No manager of the Swarm answers at ${manager.host}`,
    );
  });

  it("is promoted in place", async () => {
    manager.answers["GET /nodes/n2"] = () =>
      node(whats(manager).includes("POST /nodes/n2/update") ? "manager" : "worker");
    manager.answers["POST /nodes/n2/update"] = {};
    expect(await memberProvider.diff?.("n2", state(), inputs("manager"))).toMatchObject({
      changes: true,
      replaces: [],
    });
    await memberProvider.update?.("n2", state(), inputs("manager"));
    expect(bodyOf(manager, "POST /nodes/n2/update")).toMatchObject({
      Role: "manager",
      Availability: "active",
    });
  });

  it("leaves after its instances have moved, and is removed from the Swarm", async () => {
    own.answers["GET /info"] = info("active");
    own.answers["POST /swarm/leave"] = {};
    own.answers["DELETE /networks/docker_gwbridge"] = {};
    manager.answers["GET /nodes/n2"] = node();
    manager.answers["POST /nodes/n2/update"] = {};
    const task = (ServiceID: string, NodeID: string) => ({
      ...{ ServiceID, NodeID, DesiredState: "running" },
      Status: { State: "running" },
    });
    manager.answers["GET /services"] = [];
    manager.answers["GET /nodes/n1"] = { ...node("manager"), ID: "n1" };
    manager.answers["GET /tasks"] = () => {
      const here = left-- > 0 ? [task("alone", "n2"), task("both", "n2")] : [];
      return [...here, task("both", "n1")];
    };
    let left = 3;
    manager.answers["GET /services/alone"] = {
      Version: { Index: 3 },
      Spec: { TaskTemplate: { ForceUpdate: 1 } },
    };
    manager.answers["POST /services/alone/update"] = {};
    manager.answers["DELETE /nodes/n2"] = {};
    await memberProvider.delete?.("n2", state());
    const [paused, drained] = manager.calls.filter(({ what }) => what === "POST /nodes/n2/update");
    expect(paused?.body).toMatchObject({ Availability: "pause" });
    expect(drained?.body).toMatchObject({ Availability: "drain" });
    // A service that also has instances elsewhere is not restarted.
    expect(bodyOf(manager, "POST /services/alone/update")).toEqual({ TaskTemplate: { ForceUpdate: 2 } });
    expect(whats(manager)).not.toContain("POST /services/both/update");
    expect(left).toBeLessThan(0);
    expect(whats(own)).toEqual(
      expect.arrayContaining(["POST /swarm/leave", "DELETE /networks/docker_gwbridge"]),
    );
    expect(whats(manager)).toContain("DELETE /nodes/n2");
  });

  it.each(["update out of sequence", "raft: failed to process the request: node lost leader status"])(
    "changes a node again after: %s",
    async (reason) => {
      const answers = [new Error(reason), {}];
      manager.answers["GET /nodes/n2"] = () => node(answers.length === 0 ? "manager" : "worker");
      manager.answers["POST /nodes/n2/update"] = () => answers.shift();
      await memberProvider.update?.("n2", state(), inputs("manager"));
      expect(answers).toEqual([]);
    },
  );

  it("is removed by a manager if its engine is down", async () => {
    manager.answers["GET /nodes/n2"] = node("worker", "down");
    manager.answers["POST /nodes/n2/update"] = {};
    manager.answers["DELETE /nodes/n2"] = {};
    await memberProvider.delete?.("n2", { ...state(), host: "unix:///nowhere" });
    expect(whats(manager)).toContain("DELETE /nodes/n2");
  });

  it("keeps the last manager until the Swarm itself is deleted", async () => {
    manager.answers["GET /info"] = info("inactive");
    await memberProvider.delete?.("n2", { ...state(), role: "manager" });
    expect(whats(own)).toEqual([]);
  });

  it("is gone if its engine is in no Swarm or in another one", async () => {
    own.answers["GET /info"] = info("inactive");
    expect((await memberProvider.read?.("n2", state()))?.id).toBe("");
    own.answers["GET /info"] = info("active");
    expect((await memberProvider.read?.("n2", state()))?.id).toBe("n2");
    expect((await memberProvider.read?.("other", state()))?.id).toBe("");
    own.answers["GET /info"] = info("pending");
    expect((await memberProvider.read?.("n2", state()))?.id).toBe("n2");
  });

  it.each([
    ["in no Swarm", info("inactive")],
    ["in another Swarm", { Swarm: { ...info("active").Swarm, NodeID: "n9" } }],
  ])("is replaced if its engine, which lost its disk, is %s: the others forget it", async (_case, now) => {
    own.answers["GET /info"] = now;
    manager.answers["GET /nodes/n2"] = node("manager", "down");
    manager.answers["POST /nodes/n2/update"] = {};
    manager.answers["DELETE /nodes/n2"] = {};
    const found = (await memberProvider.read?.("n2", state())) ?? {};
    expect(found).toMatchObject({ id: "n2", props: { lost: true } });
    const lost = { ...state(), lost: true };
    expect(await memberProvider.diff?.("n2", lost, inputs())).toMatchObject({
      changes: true,
      replaces: ["swarmId"],
    });
    await memberProvider.delete?.("n2", lost);
    const changes = manager.calls.filter(({ what }) => what === "POST /nodes/n2/update");
    expect(changes.map(({ body }) => body)).toContainEqual(expect.objectContaining({ Role: "worker" }));
    expect(whats(manager)).toContain("DELETE /nodes/n2");
    expect(whats(own)).not.toContain("POST /swarm/leave");
  });

  it("leaves a Swarm that has ended, as a worker, once all managers say so", async () => {
    own.answers["GET /info"] = info("active");
    own.answers["POST /swarm/leave"] = {};
    own.answers["DELETE /networks/docker_gwbridge"] = {};
    manager.answers["GET /info"] = 500;
    await memberProvider.delete?.("n2", state());
    expect(whats(own)).not.toContain("POST /swarm/leave");
    manager.answers["GET /info"] = info("inactive");
    await memberProvider.delete?.("n2", state());
    expect(whats(own)).toContain("POST /swarm/leave");
  });
});
