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

it("starts an instance beside a service, with other volumes and none of its names in networks", async () => {
  engine.answers["GET /services"] = [
    {
      ID: "d1",
      Spec: {
        Name: "dev-database",
        TaskTemplate: {
          ContainerSpec: { Image: "postgres", Mounts: [{ Type: "volume", Source: "data", Target: "/data" }] },
          Networks: [{ Target: "n1", Aliases: ["database"] }],
        },
      },
    },
  ];
  engine.answers["POST /services/create"] = new Error("no room");
  const deployed = { manager: { host: engine.host } } as unknown as Deployed;
  const node = new BackupNode({ name: "one", host: engine.host }, "switchyard/dev", "base", () => undefined);
  const services = new Services(deployed, "switchyard/dev", node);
  await expect(services.startBeside("dev-database", { data: "data.restore" })).rejects.toThrow("no room");
  expect(engine.calls.at(-1)?.body).toMatchObject({
    Name: "dev-database-restore",
    TaskTemplate: {
      ContainerSpec: { Image: "postgres", Mounts: [{ Source: "data.restore", Target: "/data" }] },
      Networks: [{ Target: "n1" }],
    },
  });
  expect(JSON.stringify(engine.calls.at(-1)?.body)).not.toContain("Aliases");
});
