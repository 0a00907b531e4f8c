import { afterAll, beforeAll, expect, test } from "vitest";

import { until } from "../e2e/http";
import { clusterStack as stack, succeeded } from "../e2e/stack";
import { tearDown } from "../e2e/tear-down";
import { expectNothingLeft } from "./virtualbox";
import { urlOf, VirtualBoxStack } from "./virtualbox-stack";

// A stack of one machine, whose instances can go nowhere else.

const virtual = new VirtualBoxStack(["node-1"]);
const { machines, vboxManage, events } = virtual;

/** The machine is a node again, and both services answer. */
async function expectServing(): Promise<void> {
  expect(events).toEqual(["node-1 stops", "node-1 starts"]);
  expect(await virtual.nodes()).toEqual(["Active Ready"]);
  for (const machine of machines)
    for (const path of ["/hello/v1", "/alone/v1"])
      expect((await until(urlOf(machine) + path, ({ status }) => status === 200)).status).toBe(200);
  succeeded(await stack.up("--expect-no-changes"));
}

beforeAll(() => virtual.create(), 1_200_000);
afterAll(tearDown);

test("another memory restarts the only machine, which gets its instances back", async () => {
  virtual.configure({ memoryMb: 4096 });
  succeeded(await stack.up());
  await expectServing();
});

test("the only machine can be replaced, although the Swarm ends with it", async () => {
  events.length = 0;
  succeeded(await stack.up("--replace", "**SshKey::node-1-host"));
  await expectServing();
});

test("down leaves no machine, no medium, no key", async () => {
  succeeded(await stack.down());
  await expectNothingLeft(vboxManage);
});
