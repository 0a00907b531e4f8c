import { afterEach, beforeEach, expect, it } from "vitest";
import { fakeEngine, type FakeEngine } from "./fake-engine";
import { swarmNetworkProvider } from "./swarm-network";

let engine: FakeEngine;
beforeEach(async () => {
  engine = await fakeEngine();
});
afterEach(() => {
  engine.close();
});

const inputs = () => ({ owner: "switchyard/dev", host: engine.host, swarmId: "s1", name: "dev_shop" });
const whats = () => engine.calls.map(({ what }) => what);
const found = (owner?: string) => [
  { Id: "x", Name: "dev_shopping", Labels: { "switchyard.owner": "switchyard/dev" } },
  { Id: "id1", Name: "dev_shop", Labels: owner === undefined ? null : { "switchyard.owner": owner } },
];

it("is made across the nodes, and has an owner", async () => {
  engine.answers["GET /networks"] = found().slice(0, 1);
  engine.answers["POST /networks/create"] = { Id: "id1" };
  expect(await swarmNetworkProvider.create(inputs())).toMatchObject({ id: "id1" });
  expect(engine.calls.at(-1)?.body).toMatchObject({
    Name: "dev_shop",
    Driver: "overlay",
    Labels: { "switchyard.owner": "switchyard/dev" },
  });
});

it("is taken over from a run that was killed, and from nobody else", async () => {
  engine.answers["GET /networks"] = found("switchyard/dev");
  expect(await swarmNetworkProvider.create(inputs())).toMatchObject({ id: "id1" });
  for (const owner of ["other/dev", undefined]) {
    engine.answers["GET /networks"] = found(owner);
    await expect(swarmNetworkProvider.create(inputs())).rejects.toThrow("already has a network dev_shop");
  }
  expect(whats()).not.toContain("POST /networks/create");
});

it("is gone if the Swarm does not know it, and new in another Swarm", async () => {
  engine.answers["GET /info"] = { Swarm: { ControlAvailable: true } };
  expect((await swarmNetworkProvider.read?.("id1", inputs()))?.id).toBe("");
  // An engine that has to join its Swarm again.
  engine.answers["GET /info"] = { Swarm: { ControlAvailable: false } };
  expect((await swarmNetworkProvider.read?.("id1", inputs()))?.id).toBe("id1");
  engine.answers["GET /networks/id1"] = { Id: "id1" };
  expect((await swarmNetworkProvider.read?.("id1", inputs()))?.id).toBe("id1");
  const diff = (news: object) => swarmNetworkProvider.diff?.("id1", inputs(), { ...inputs(), ...news });
  expect(await diff({})).toEqual({ changes: false, replaces: [] });
  expect(await diff({ swarmId: "s2" })).toEqual({ changes: true, replaces: ["swarmId"] });
  expect(await diff({ host: "ssh://other" })).toEqual({ changes: true, replaces: [] });
  expect(await diff({ sshOpts: ["-p", "2222"] })).toEqual({ changes: true, replaces: [] });
});

it("is removed once the last container of a service that is gone has left it", async () => {
  let left = 2;
  engine.answers["DELETE /networks/id1"] = () =>
    left-- > 0 ? new Error("network dev_shop id id1 has active endpoints") : {};
  await swarmNetworkProvider.delete?.("id1", inputs());
  expect(whats()).toHaveLength(3);
  engine.answers["DELETE /networks/id1"] = 404;
  await swarmNetworkProvider.delete?.("id1", inputs());
  engine.answers["DELETE /networks/id1"] = new Error("no leader");
  await expect(swarmNetworkProvider.delete?.("id1", inputs())).rejects.toThrow("no leader");
});
