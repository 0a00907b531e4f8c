import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { consulMemberProvider } from "./consul-member";
import { fakeEngine, type FakeEngine } from "./fake-engine";

let own: FakeEngine;
let other: FakeEngine;
beforeEach(async () => {
  [own, other] = await Promise.all([fakeEngine(), fakeEngine()]);
  runs(own, 0);
});
afterEach(() => {
  vi.restoreAllMocks();
  own.close();
  other.close();
});

/** A multiplexed stream as Docker sends it: eight bytes before each piece. */
function framed(...pieces: string[]): Buffer {
  return Buffer.concat(
    pieces.map((text) => {
      const head = Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]);
      head.writeUInt32BE(Buffer.byteLength(text), 4);
      return Buffer.concat([head, Buffer.from(text)]);
    }),
  );
}

/** Makes an engine run `consul` in the container with this result. */
function runs(engine: FakeEngine, ExitCode: number, ...pieces: string[]): void {
  engine.answers["POST /containers/consul/update"] = {};
  engine.answers["POST /containers/consul/exec"] = { Id: "e1" };
  engine.answers["POST /exec/e1/start"] = framed(...pieces);
  engine.answers["GET /exec/e1/json"] = { ExitCode };
}

/** Makes an engine's agent healthy or not, with what `consul info` says, one after the other. */
function runsAgent(engine: FakeEngine, Status: string, ...infos: string[]): void {
  runs(engine, 0);
  engine.answers["POST /exec/e1/start"] = () =>
    framed(infos.length > 1 ? (infos.shift() ?? "") : (infos[0] ?? ""));
  engine.answers["GET /containers/consul/json"] = {
    Id: "c1",
    RestartCount: 0,
    State: { Running: true, Health: { Status, Log: [{ ExitCode: 1, Output: "No cluster leader" }] } },
  };
}

const inputs = () => ({
  node: "two",
  address: "192.0.2.2",
  host: own.host,
  servers: [other.host, own.host],
  container: "consul",
  containerId: "c1",
  httpPort: 8500,
  timeoutSeconds: 0,
});

async function removed(): Promise<string> {
  const warn = vi.spyOn(console, "warn").mockReturnValue(undefined);
  await consulMemberProvider.delete?.("two", inputs());
  return warn.mock.calls.flat().join("\n");
}

const commands = (engine: FakeEngine) =>
  engine.calls
    .filter(({ what }) => what === "POST /containers/consul/exec")
    .map(({ body }) => (body as { Cmd: string[] }).Cmd.join(" "));

describe("removing a ConsulMember", () => {
  it("makes the agent leave, and another server remove it", async () => {
    runs(other, 0);
    expect(await removed()).toBe("");
    expect(commands(own)).toEqual(["consul leave"]);
    expect(commands(other)).toEqual(["consul force-leave -prune two"]);
  });

  it("reports a failure to remove it with Consul's own message", async () => {
    runs(other, 1, "Error force leaving: ", "Permission denied\n");
    const warning = await removed();
    expect(warning).toContain("Consul still lists the node two");
    expect(warning).toContain("consul force-leave -prune two: Error force leaving: Permission denied");
    expect(warning).toContain(`docker -H ${other.host} exec consul consul force-leave -prune two`);
  });

  it("reports an engine that fails", async () => {
    other.answers["POST /containers/consul/exec"] = new Error("the engine is shutting down");
    expect(await removed()).toContain("Consul still lists the node two: the engine is shutting down");
  });

  it.each([
    ["the servers no longer know", 1, "agent: No node found with name 'two'"],
    ["was never in the cluster", 1, "No such node"],
  ])("is silent about a node that %s", async (_case, exitCode, output) => {
    runs(other, exitCode, output);
    expect(await removed()).toBe("");
  });

  it("is silent when the other servers are gone too", async () => {
    other.answers["POST /containers/consul/exec"] = 409;
    expect(await removed()).toBe("");
  });
});

it("reports why a server keeps its vote, without Docker's frame bytes", async () => {
  runs(other, 1, "Error removing peer: ", "no leader");
  const news = { ...inputs(), servers: [other.host] };
  await expect(consulMemberProvider.update?.("two", inputs(), news)).rejects.toThrow(
    `Consul's servers did not remove the Raft peer two: consul operator raft remove-peer -address=192.0.2.2:8300: Error removing peer: no leader`,
  );
});

describe("a new container", () => {
  const update = (more = {}) => {
    const news = { ...inputs(), ...more };
    return consulMemberProvider.update?.("two", { ...news, containerId: "c0" }, news);
  };
  const info = (applied: number) => `raft:\n\tapplied_index = ${applied}\n\tcommit_index = ${applied}\n`;

  it("is waited for until it has the data of the other servers", async () => {
    runsAgent(own, "healthy", info(7), info(9));
    runsAgent(other, "healthy", info(9));
    await update();
    expect(commands(own)).toEqual(["consul info", "consul info"]);
  });

  it("is waited for on a client until it has a leader", async () => {
    runsAgent(own, "healthy", "agent:\n");
    const client = { ...inputs(), servers: [other.host] };
    await consulMemberProvider.update?.("two", { ...client, containerId: "c0" }, client);
    expect(other.calls).toEqual([]);
  });

  it("stops the update if it finds no leader, and says what it said", async () => {
    runsAgent(own, "starting", info(0));
    runsAgent(other, "healthy", info(9));
    await expect(update({ waitTimeoutSeconds: 0 })).rejects.toThrow(
      "Consul on node two was not back in the cluster within 0 s. Output of its health check: No cluster leader",
    );
  });

  it("stops the update if it ends", async () => {
    runsAgent(other, "healthy", info(9));
    own.answers["GET /containers/consul/json"] = { State: { Running: false, ExitCode: 1 } };
    await expect(update()).rejects.toThrow("Consul on node two ended.");
  });

  it("does not wait for a server that is to be created later", async () => {
    runsAgent(own, "starting", info(0));
    await update({ waitTimeoutSeconds: 0 });
  });
});

describe("creating a ConsulMember", () => {
  it("waits for a leader only on the last server and on clients", async () => {
    runsAgent(own, "starting");
    runsAgent(other, "starting");
    const create = (servers: string[]) =>
      consulMemberProvider.create({ ...inputs(), waitTimeoutSeconds: 0, servers });
    await create([own.host, other.host]);
    await expect(create([other.host, own.host])).rejects.toThrow("was not back");
    await expect(create([other.host])).rejects.toThrow("was not back");
  });
});
