import { afterEach, beforeEach, expect, it } from "vitest";
import { connect } from "./client";
import { fakeEngine, type FakeEngine } from "./fake-engine";
import { removeOrphans, swarmFileProvider } from "./swarm-file";

let engine: FakeEngine;
beforeEach(async () => {
  engine = await fakeEngine();
});
afterEach(() => {
  engine.close();
});

const inputs = (content = "aHVzaA==") => ({
  owner: "switchyard/dev",
  kind: "secrets" as const,
  host: engine.host,
  swarmId: "s1",
  prefix: "dev_db",
  content,
});
const whats = () => engine.calls.map(({ what }) => what);
const inUse = new Error(
  "rpc error: code = InvalidArgument desc = secret 'x' is in use by the following service: db",
);

it("creates a secret with a name that tells nothing about its content", async () => {
  engine.answers["POST /secrets/create"] = { ID: "id1" };
  const names = [await swarmFileProvider.create(inputs()), await swarmFileProvider.create(inputs())].map(
    ({ id, outs }) => [id, outs?.fileName] as const,
  );
  for (const [id, name] of names)
    expect([id, name]).toEqual(["id1", expect.stringMatching(/^dev_db_[0-9a-f]{8}$/)]);
  expect(names[0]?.[1]).not.toBe(names[1]?.[1]);
  expect(engine.calls[0]?.body).toMatchObject({
    Data: "aHVzaA==",
    Labels: { "switchyard.owner": "switchyard/dev" },
  });
});

it("is replaced, new before old, if its content changes", async () => {
  const state = { ...inputs(), fileName: "dev_db_1" };
  expect(await swarmFileProvider.diff?.("id1", state, inputs())).toEqual({ changes: false, replaces: [] });
  expect(await swarmFileProvider.diff?.("id1", state, inputs("b3RoZXI="))).toEqual({
    changes: true,
    replaces: ["content"],
  });
});

it("is gone if the Swarm does not know it", async () => {
  const state = { ...inputs(), fileName: "dev_db_1" };
  engine.answers["GET /info"] = { Swarm: { ControlAvailable: true } };
  expect((await swarmFileProvider.read?.("id1", state))?.id).toBe("");
  // An engine that has to join its Swarm again.
  engine.answers["GET /info"] = { Swarm: { ControlAvailable: false } };
  expect((await swarmFileProvider.read?.("id1", state))?.id).toBe("id1");
  engine.answers["GET /secrets/id1"] = { ID: "id1" };
  expect((await swarmFileProvider.read?.("id1", state))?.id).toBe("id1");
});

it("that a service still uses is marked, and removed once none does", async () => {
  const state = { ...inputs(), fileName: "dev_db_1" };
  engine.answers["DELETE /secrets/id1"] = inUse;
  engine.answers["GET /secrets/id1"] = { ID: "id1", Version: { Index: 7 }, Spec: { Name: "x", Labels: { a: "b" } } }; // prettier-ignore
  engine.answers["POST /secrets/id1/update"] = {};
  await swarmFileProvider.delete?.("id1", state);
  expect(engine.calls.at(-1)).toMatchObject({
    query: { version: "7" },
    body: { Name: "x", Labels: { a: "b", "switchyard.orphan": "true" } },
  });

  engine.answers["GET /secrets"] = [{ ID: "id1" }, { ID: "id2" }];
  engine.answers["GET /configs"] = [];
  engine.answers["DELETE /secrets/id2"] = {};
  await removeOrphans(connect(engine.host), "switchyard/dev");
  expect(whats().slice(-3)).toEqual(["DELETE /secrets/id1", "DELETE /secrets/id2", "GET /configs"]);
  const asked = engine.calls.find(({ what }) => what === "GET /secrets")?.query["filters"] ?? "";
  expect(JSON.parse(asked)).toEqual({ label: ["switchyard.owner=switchyard/dev", "switchyard.orphan"] });
});
