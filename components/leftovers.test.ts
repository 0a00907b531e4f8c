import type * as pulumi from "@pulumi/pulumi";
import { afterEach, beforeEach, expect, test } from "vitest";

import { fakeEngine, type FakeEngine } from "../providers/fake-engine";
import { removeLeftover } from "./leftovers";

let engine: FakeEngine;
beforeEach(async () => {
  engine = await fakeEngine();
});
afterEach(() => {
  engine.close();
});

const removed = async (owner?: string): Promise<boolean> => {
  if (owner !== undefined)
    engine.answers["GET /containers/consul/json"] = {
      Id: "abc",
      Config: { Labels: { "switchyard.owner": owner } },
    };
  engine.answers["DELETE /containers/abc"] = {};
  const args = { newInputs: { name: "consul" } } as unknown as pulumi.ResourceHookArgs;
  const said: string[] = [];
  await removeLeftover({ host: engine.host, owner: "shop/dev" }, args, (line) => said.push(line));
  const deletes = engine.calls.filter(({ what }) => what === "DELETE /containers/abc");
  expect(said).toEqual(deletes.map(() => "Removing container consul, which an interrupted run left."));
  return deletes.length > 0;
};

test("a container of the same name is removed if this stack made it, and only then", async () => {
  expect(await removed()).toBe(false);
  expect(await removed("bank/dev")).toBe(false);
  expect(await removed("shop/dev")).toBe(true);
});
