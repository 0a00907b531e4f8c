import { afterEach, beforeEach, expect, it } from "vitest";

import { fakeEngine, type FakeEngine } from "../providers/fake-engine";
import { BackupNode } from "./node";
import { Services } from "./services";
import type { Deployed } from "./stack";

let engine: FakeEngine;
beforeEach(async () => {
  engine = await fakeEngine();
});
afterEach(() => {
  engine.close();
});

const deployed = () => ({ manager: { host: engine.host } }) as unknown as Deployed;
const servicesOf = () =>
  new Services(
    deployed(),
    "switchyard/dev",
    new BackupNode({ name: "one", host: engine.host }, "switchyard/dev", "base", () => undefined),
  );
const restored = { "switchyard.owner": "switchyard/dev", "switchyard.restore": "dev-database" };

it("starts an instance beside a service, with other volumes and none of its names in networks", async () => {
  const mounts = [
    { Type: "volume", Source: "data", Target: "/data" },
    { Type: "volume", Source: "shared", Target: "/shared" },
    { Type: "bind", Source: "/srv", Target: "/srv" },
    { Type: "tmpfs", Target: "/tmp" },
  ];
  engine.answers["GET /services"] = [
    {
      ID: "d1",
      Spec: {
        Name: "dev-database",
        TaskTemplate: {
          ContainerSpec: { Image: "postgres", Mounts: mounts },
          Networks: [{ Target: "n1", Aliases: ["database"] }],
        },
      },
    },
  ];
  engine.answers["POST /services/create"] = new Error("no room");
  const starting = servicesOf().startBeside("dev-database", { data: "data.restore" });
  await expect(starting).rejects.toThrow("no room");
  const [data, ...others] = mounts;
  const [shared, bind, tmpfs] = others;
  expect(engine.calls.at(-1)?.body).toMatchObject({
    Name: "dev-database-restore",
    Labels: restored,
    TaskTemplate: {
      ContainerSpec: {
        Image: "postgres",
        // The present instance writes to the others.
        Mounts: [{ ...data, Source: "data.restore" }, { ...shared, ReadOnly: true }, { ...bind, ReadOnly: true }, tmpfs], // prettier-ignore
      },
      Networks: [{ Target: "n1" }],
    },
  });
  expect(JSON.stringify(engine.calls.at(-1)?.body)).not.toContain("Aliases");
});

it("removes the instance that it has started, and no other service of its name", async () => {
  const found = (Labels: object) => [{ ID: "r1", Spec: { Name: "dev-database-restore", Labels } }];
  engine.answers["GET /containers/json"] = [];
  engine.answers["DELETE /services/r1"] = {};
  const deleted = () => engine.calls.filter(({ what }) => what.startsWith("DELETE")).length;
  engine.answers["GET /services"] = found({ "switchyard.owner": "switchyard/dev" });
  await servicesOf().removeBeside("dev-database", ["data.restore"]);
  expect(deleted()).toBe(0);
  engine.answers["GET /services"] = found(restored);
  await servicesOf().removeBeside("dev-database", ["data.restore"]);
  expect(deleted()).toBe(1);
});

it("removes no volume of somebody else", async () => {
  engine.answers["GET /volumes/v.restore"] = { Labels: null };
  engine.answers["DELETE /volumes/v.restore"] = {};
  const node = new BackupNode({ name: "one", host: engine.host }, "switchyard/dev", "base", () => undefined);
  await expect(node.freshVolume("v.restore")).rejects.toThrow("belongs to somebody else");
  expect(engine.calls.map(({ what }) => what)).toEqual(["GET /volumes/v.restore"]);
});
