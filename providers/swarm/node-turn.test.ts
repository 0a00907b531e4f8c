import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { fakeEngine, type FakeEngine } from "../fake-engine";
import { requireFirstBoot } from "../first-boot";
import { FinalError } from "../../lib/errors";
import { nodeDrainProvider, nodeReturnProvider } from "./node-turn";

// It asks by ssh.
vi.mock("../first-boot", () => ({ requireFirstBoot: vi.fn(() => Promise.resolve()) }));

let own: FakeEngine;
let other: FakeEngine;
let warnings: string[];
beforeEach(async () => {
  [own, other] = await Promise.all([fakeEngine(), fakeEngine()]);
  own.answers["GET /nodes"] = 503;
  own.answers["GET /info"] = { Swarm: { LocalNodeState: "active" } };
  other.answers["GET /tasks"] = [];
  other.answers["GET /services"] = [];
  warnings = [];
  vi.spyOn(console, "warn").mockImplementation((line: string) => void warnings.push(line));
});
afterEach(() => {
  vi.restoreAllMocks();
  own.close();
  other.close();
});

const both = () => ({ name: "two", host: own.host, nodes: [own.host, other.host] });
const inputs = (change = "a") => ({ ...both(), change });
const drain = () => nodeDrainProvider.update?.("", { ...inputs(), turn: 3 }, inputs("b"));
const back = (turn = 4) => ({ ...both(), turn, readyFile: "/ready" });
const comeBack = () => nodeReturnProvider.update?.("", back(3), back());
const node = (ID: string, Hostname: string, State = "ready", Availability = "active", Labels = {}) => ({
  ID,
  Version: { Index: 7 },
  Spec: { Role: "worker", Availability, Labels },
  Description: { Hostname },
  Status: { State },
});
/** A node that a turn has drained, or begun to. */
const turned = (Availability: string) =>
  node("n2", "two", "ready", Availability, { rack: "1", "switchyard.turn": Availability });
/** What the manager knows. A change of a node is at once so. */
function swarm(...nodes: ReturnType<typeof node>[]): string[] {
  const changes: string[] = [];
  other.answers["GET /nodes"] = nodes;
  for (const each of nodes) {
    other.answers[`GET /nodes/${each.ID}`] = each;
    other.answers[`POST /nodes/${each.ID}/update`] = ({ body }: { body: typeof each.Spec }) => {
      each.Spec = body;
      changes.push(`${each.ID} ${body.Availability}`);
      return {};
    };
  }
  return changes;
}
const container = (Status: string) => ({ State: { Running: true, Health: { Status } } });

describe("before a machine changes", () => {
  it("is created without asking anybody, and takes part only in changes of its machine", async () => {
    await nodeDrainProvider.create(inputs());
    await nodeReturnProvider.create(back(0));
    expect([...own.calls, ...other.calls]).toEqual([]);
    const state = { ...inputs(), turn: 0 };
    const more = { ...inputs(), nodes: [own.host, other.host, "ssh://three"] };
    expect(await nodeDrainProvider.diff?.("", state, more)).toEqual({ changes: false });
    expect(await nodeDrainProvider.diff?.("", state, inputs("b"))).toEqual({ changes: true });
  });

  it("its node is drained through another one", async () => {
    const two = node("n2", "two");
    const changes = swarm(node("n1", "one"), two);
    await drain();
    expect(changes).toEqual(["n2 pause", "n2 drain"]);
    expect(two.Spec.Labels).toEqual({ "switchyard.turn": "drain" });
    expect(warnings).toEqual([]);
  });

  it("waits for instances that finish their last requests", async () => {
    const changes = swarm(node("n1", "one"), node("n2", "two"));
    const task = (State: string) => ({
      ServiceID: "s",
      NodeID: "n2",
      DesiredState: "shutdown",
      Status: { State },
    });
    let looks = 0;
    other.answers["GET /tasks"] = () => {
      // Only a drain ends them.
      const isOver = changes.includes("n2 drain") && ++looks > 3;
      return [task(isOver ? "shutdown" : "running")];
    };
    await drain();
    expect(looks).toBe(4);
  });

  it.each([
    [
      "which would begin anew elsewhere",
      [node("n1", "one"), node("n2", "two")],
      ["n2 pause", "over", "n2 drain"],
    ],
    ["even if it could run nowhere else", [node("n2", "two")], ["n2 pause", "over"]],
  ])("waits for the run of a job, %s", async (_what, nodes, order) => {
    const changes = swarm(...nodes);
    const labels = { "switchyard.schedule": "0 3 * * *", "switchyard.schedule.deadline": "1h" };
    const job = {
      ID: "s",
      Version: { Index: 1 },
      Spec: { Name: "report", Mode: {}, Labels: labels, TaskTemplate: { ContainerSpec: {} } },
    };
    other.answers["GET /services"] = [job];
    const CreatedAt = new Date().toISOString();
    const task = (State: string) => ({
      ServiceID: "s",
      NodeID: "n2",
      DesiredState: "running",
      CreatedAt,
      Status: { State },
    });
    let looks = 0;
    other.answers["GET /tasks"] = () => {
      // A drain would end it at once.
      if (!changes.includes("n2 pause") || changes.includes("n2 drain") || ++looks < 4)
        return changes.includes("n2 drain") ? [] : [task("running")];
      if (looks === 4) changes.push("over");
      return [task("complete")];
    };
    await drain();
    expect(changes).toEqual(order);
    expect(other.calls.map(({ what }) => what)).not.toContain("POST /services/s/update");
    expect(warnings).toEqual(["report is running: waiting until it has ended."]);
  });

  describe("with a service that runs only there", () => {
    const service = {
      ID: "s",
      Version: { Index: 1 },
      Spec: { Name: "web", Mode: {}, TaskTemplate: { ContainerSpec: {}, ForceUpdate: 0 } },
    };
    const task = (NodeID: string | undefined, State: string, Err?: string) => ({
      ServiceID: "s",
      NodeID,
      DesiredState: "running",
      Status: { State, Err },
    });
    beforeEach(() => {
      other.answers["GET /services"] = [service];
      other.answers["GET /services/s"] = service;
      other.answers["POST /services/s/update"] = {};
    });

    it("waits until it runs elsewhere", async () => {
      const changes = swarm(node("n1", "one"), node("n2", "two"));
      other.answers["POST /services/s/update"] = () => {
        changes.push("moving");
        return {};
      };
      let looks = 0;
      other.answers["GET /tasks"] = () => {
        if (!changes.includes("moving")) return changes.includes("n2 drain") ? [] : [task("n2", "running")];
        if (++looks < 4) return [task("n2", "running"), task("n1", "preparing")];
        if (looks === 4) changes.push("moved");
        return [task("n1", "running")];
      };
      await drain();
      expect(changes).toEqual(["n2 pause", "moving", "moved", "n2 drain"]);
    });

    it.each([
      ["is paused, because it leaves as well", node("n3", "three", "ready", "pause"), true],
      ["is down", node("n3", "three", "down"), true],
      ["takes instances", node("n3", "three"), false],
    ])("and on a node that %s", async (_what, third, isMoved) => {
      const changes = swarm(node("n1", "one"), node("n2", "two"), third);
      const done: string[] = [];
      other.answers["POST /services/s/update"] = () => {
        done.push(`moved when ${changes.join()}`);
        return {};
      };
      other.answers["GET /tasks"] = () =>
        done.length > 0 || changes.includes("n2 drain")
          ? [task("n1", "running")]
          : [task("n2", "running"), task("n3", "running")];
      await drain();
      expect(done).toEqual(isMoved ? ["moved when n2 pause"] : []);
      expect(changes).toEqual(["n2 pause", "n2 drain"]);
    });

    it("leaves the machine as it is if it does not start elsewhere", async () => {
      const changes = swarm(node("n1", "one"), node("n2", "two"));
      let nowMs = Date.now();
      vi.spyOn(Date, "now").mockImplementation(() => (nowMs += 60_000));
      other.answers["GET /tasks"] = [task("n2", "running"), task("n1", "preparing")];
      await expect(drain()).rejects.toThrow(
        "machine was left as it is: the start of web on another node did not happen within 310 s",
      );
      expect(changes).toEqual(["n2 pause", "n2 active"]);
    });

    it("gives the node its instances back if they cannot be replaced", async () => {
      const changes = swarm(node("n1", "one"), node("n2", "two"));
      other.answers["GET /tasks"] = [task("n2", "running")];
      other.answers["POST /services/s/update"] = 500;
      await expect(drain()).rejects.toThrow("its machine was left as it is");
      expect(changes).toEqual(["n2 pause", "n2 active"]);
    });

    it("does not move an instance of a global service", async () => {
      const changes = swarm(node("n1", "one"), node("n2", "two"));
      other.answers["GET /services"] = [{ ...service, Spec: { ...service.Spec, Mode: { Global: {} } } }];
      other.answers["GET /tasks"] = () => (changes.includes("n2 drain") ? [] : [task("n2", "running")]);
      await drain();
      expect(changes).toEqual(["n2 pause", "n2 drain"]);
    });

    it("does not wait if no other node can run it", async () => {
      const changes = swarm(node("n1", "one"), node("n2", "two"));
      const reason = "no suitable node (scheduling constraints not satisfied on 1 node)";
      const tasks = vi.fn(() =>
        changes.includes("n2 drain") ? [] : [task("n2", "running"), task(undefined, "pending", reason)],
      );
      other.answers["GET /tasks"] = tasks;
      await drain();
      expect(changes).toEqual(["n2 pause", "n2 drain"]);
    });
  });

  it("leaves the machine as it is if its node cannot be drained", async () => {
    swarm(node("n1", "one"), node("n2", "two"));
    other.answers["POST /nodes/n2/update"] = 500;
    await expect(drain()).rejects.toThrow(
      /^two could not be drained, so its machine was left as it is: .*\. Run the update again$/,
    );
  });

  it("each turn has its return, also that of a change that is taken back", async () => {
    swarm(node("n1", "one"), node("n2", "two"));
    expect(await drain()).toMatchObject({ outs: { turn: 4 } });
    expect(await nodeReturnProvider.diff?.("", back(3), back(4))).toEqual({ changes: true });
    expect(await nodeReturnProvider.diff?.("", back(4), back(4))).toEqual({ changes: false });
  });

  it("a node whose instances could go nowhere is paused, but not drained", async () => {
    const changes = swarm(
      node("n1", "one", "ready", "drain"),
      node("n2", "two"),
      node("n3", "three", "down"),
    );
    await drain();
    expect(changes).toEqual(["n2 pause"]);
  });

  it("a node that is alone takes instances again if its jobs cannot be waited for", async () => {
    const changes = swarm(node("n2", "two"));
    other.answers["GET /tasks"] = () => (changes.length > 0 ? 500 : []);
    await expect(drain()).rejects.toThrow("its machine was left as it is");
    expect(changes).toEqual(["n2 pause", "n2 active"]);
  });

  it("a node that its owner has drained is left alone", async () => {
    const changes = swarm(node("n1", "one"), node("n2", "two", "ready", "drain"));
    await drain();
    expect(changes).toEqual([]);
  });

  it("says that it did not drain a node that no manager knows", async () => {
    swarm(node("n1", "one"));
    await drain();
    expect(warnings).toEqual([expect.stringContaining("two is not drained before its machine changes")]);
  });
});

describe("after a machine has changed", () => {
  it("waits until its containers are healthy, and gives it instances again", async () => {
    const two = turned("drain");
    const changes = swarm(node("n1", "one"), two);
    own.answers["GET /containers/consul/json"] = container("healthy");
    let looks = 0;
    own.answers["GET /containers/rest/json"] = () => {
      if (++looks === 2) changes.push("rest is healthy");
      return container(looks > 1 ? "healthy" : "starting");
    };
    await comeBack();
    expect(changes).toEqual(["rest is healthy", "n2 active"]);
    expect(two.Spec).toEqual({ Role: "worker", Availability: "active", Labels: { rack: "1" } });
  });

  it.each(["drain", "pause"])("leaves a node alone whose owner has set it to %s", async (availability) => {
    const changes = swarm(node("n1", "one"), node("n2", "two", "ready", availability));
    await comeBack();
    expect(changes).toEqual([]);
  });

  describe("whose change was interrupted and taken back", () => {
    const change = async () => {
      const { props } = (await nodeReturnProvider.read?.("", back())) ?? {};
      return nodeReturnProvider.diff?.("", props ?? back(), back());
    };

    it.each(["pause", "drain"])("gets its node's instances back from %s", async (availability) => {
      const changes = swarm(node("n1", "one"), turned(availability));
      expect(await change()).toEqual({ changes: true });
      await comeBack();
      expect(changes).toEqual(["n2 active"]);
      expect(await change()).toEqual({ changes: false });
    });

    it.each([
      ["has drained", node("n2", "two", "ready", "drain")],
      ["has paused", node("n2", "two", "ready", "pause")],
      ["has drained since", node("n2", "two", "ready", "drain", { "switchyard.turn": "pause" })],
    ])("is over for a node that its owner %s", async (_what, two) => {
      swarm(node("n1", "one"), two);
      expect(await change()).toEqual({ changes: false });
    });

    it("is over if no manager answers", async () => {
      other.answers["GET /nodes"] = 503;
      expect(await change()).toEqual({ changes: false });
    });
  });

  it("does not wait for a new machine, which is in no Swarm yet", async () => {
    own.answers["GET /info"] = { Swarm: { LocalNodeState: "inactive" } };
    await comeBack();
    expect(other.calls).toEqual([]);
  });

  it("does not wait for one that could not set itself up", async () => {
    vi.mocked(requireFirstBoot).mockRejectedValueOnce(new FinalError("no package archive"));
    await expect(comeBack()).rejects.toThrow("no package archive");
  });

  it("gives up after a while, and says why", async () => {
    swarm(node("n1", "one"), node("n2", "two", "down"));
    const now = vi.spyOn(Date, "now").mockReturnValueOnce(0);
    now.mockReturnValue(901_000);
    await expect(comeBack()).rejects.toThrow(
      /^two does not serve 900 s after its machine was changed: it is not ready in the Swarm yet\./,
    );
  });
});
