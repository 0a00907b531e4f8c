import { afterAll, beforeAll, expect, test } from "vitest";

import { get, startLoad, until, type LoadResult } from "../e2e/http";
import type { Machine } from "../e2e/machines";
import { clusterStack as stack, succeeded } from "../e2e/stack";
import { tearDown } from "../e2e/tear-down";
import { expectNothingLeft } from "./virtualbox";
import { urlOf, VirtualBoxStack } from "./virtualbox-stack";

const names = ["node-1", "node-2", "node-3"];

/** The load on each machine while it is on: none of its requests may fail. */
const loads = new Map<Machine, ReturnType<typeof startLoad>[]>();
const results: LoadResult[] = [];

const ask = (machine: Machine): void => {
  const paths = ["/hello/v1", "/alone/v1"].map((path) => urlOf(machine) + path);
  loads.set(
    machine,
    paths.map((url) => startLoad(url, { perSecond: 30, connections: 8 })),
  );
};
async function stopAsking(machine: Machine): Promise<void> {
  for (const load of loads.get(machine) ?? []) results.push(await load.stop());
  loads.delete(machine);
}

const virtual = new VirtualBoxStack(names, stopAsking);
const { machines, vboxManage, events } = virtual;

beforeAll(() => virtual.create(), 1_200_000);
afterAll(tearDown);

test("a second up changes nothing", async () => {
  succeeded(await stack.up("--expect-no-changes"));
});

test("another memory restarts one machine after the other, and no request to those that are on fails", async () => {
  for (const machine of machines) ask(machine);
  virtual.configure({ memoryMb: 4096 });
  const endWatching = watchReturns();
  const outcome = await stack.up();
  await endWatching();
  for (const machine of machines) await stopAsking(machine);
  succeeded(outcome);
  const story = names.flatMap((name) => [
    `${name} stops while 200 and 200 from the others`,
    `${name} starts`,
  ]);
  expect(events).toEqual(story);
  console.log("requests during the change:", JSON.stringify(results));
  // Two services on each machine, before it restarts and after.
  expect(results).toHaveLength(12);
  for (const { requests } of results) expect(requests).toBeGreaterThan(0);
  for (const { failures } of results) expect(failures).toEqual({});
  // Instances may run on all of them again.
  expect(await virtual.nodes()).toEqual(names.map(() => "Active Ready"));
  succeeded(await stack.up("--expect-no-changes"));
});

/** Asks each machine again as soon as it serves after its restart. Returns what ends it. */
function watchReturns(): () => Promise<void> {
  const end = new AbortController();
  const watching = (async () => {
    while (!end.signal.aborted) {
      for (const machine of machines) {
        if (loads.has(machine) || !events.includes(`${machine.name} starts`)) continue;
        const { status } = await until(`${urlOf(machine)}/alone/v1`, ({ status }) => status === 200, {
          seconds: 1,
        });
        if (status === 200) ask(machine);
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  })();
  return async () => {
    end.abort();
    await watching;
  };
}

test("machines keep the user data that they were created with", async () => {
  virtual.configure({ memoryMb: 4096, aptMirror: "http://mirror.example.com/debian" });
  const { code, output } = await stack.up("--expect-no-changes");
  expect({ code, output }).toMatchObject({ code: 0 });
  expect(output).toContain("node-2 keeps the user data that its machine was created with");
});

test("a machine that is told to be replaced starts anew, and joins again", async () => {
  const others = machines.filter(({ name }) => name !== "node-2");
  for (const machine of others) ask(machine);
  events.length = results.length = 0;
  succeeded(await stack.up("--replace", "**SshKey::node-2-host"));
  for (const machine of others) await stopAsking(machine);
  expect(events).toEqual(["node-2 stops while 200 and 200 from the others", "node-2 starts"]);
  console.log("requests during the replacement:", JSON.stringify(results));
  expect(results).toHaveLength(4);
  for (const { requests } of results) expect(requests).toBeGreaterThan(0);
  for (const { failures } of results) expect(failures).toEqual({});
  expect(await virtual.nodes()).toEqual(names.map(() => "Active Ready"));
  for (const machine of machines) expect((await get(`${urlOf(machine)}/alone/v1`)).status).toBe(200);
  succeeded(await stack.up("--expect-no-changes"));
});

test("a replacement of the first machine that was interrupted goes on, in the same Swarm", async () => {
  const [first, ...others] = machines;
  if (first === undefined) throw new Error("there is no machine");
  const members = () => others[0]?.docker("node", "ls", "--format", "{{.ID}} {{.Hostname}} {{.Status}}");
  const services = () => others[0]?.docker("service", "ls", "--format", "{{.ID}} {{.Name}}");
  const [membersBefore = "", servicesBefore = ""] = [await members(), await services()];
  for (const machine of others) ask(machine);
  events.length = results.length = 0;
  const replaced = new Promise<void>((resolve) => {
    const looking = setInterval(() => {
      if (!events.includes("node-1 starts")) return;
      clearInterval(looking);
      resolve();
    }, 100);
  });
  await stack.killed("up", replaced, "SIGINT", "the engine", "--replace", "**SshKey::node-1-host");
  // Without the first machine. A new leader has to hear from the others first.
  const ready = async () => (await members())?.split("\n").filter((line) => line.endsWith(" Ready"));
  await expect.poll(ready, { timeout: 60_000 }).toHaveLength(2);
  succeeded(await stack.up());
  for (const machine of others) await stopAsking(machine);
  console.log("requests during the interrupted replacement:", JSON.stringify(results));
  expect(results).toHaveLength(4);
  for (const { requests } of results) expect(requests).toBeGreaterThan(0);
  for (const { failures } of results) expect(failures).toEqual({});
  expect(await services()).toBe(servicesBefore);
  const kept = (lines: string) => lines.split("\n").filter((line) => !line.includes(" node-1 "));
  const membersNow = (await members()) ?? "";
  expect(kept(membersNow)).toEqual(kept(membersBefore));
  expect(membersNow.split("\n")).toHaveLength(3);
  expect(await virtual.nodes()).toEqual(names.map(() => "Active Ready"));
  for (const machine of machines) expect((await get(`${urlOf(machine)}/alone/v1`)).status).toBe(200);
  succeeded(await stack.up("--expect-no-changes"));
});

test("down leaves no machine, no medium, no key", async () => {
  succeeded(await stack.down());
  await expectNothingLeft(vboxManage);
});
