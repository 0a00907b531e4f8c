import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { readyFile } from "../../components/nodes/cloud-init";
import { fakeConvert, FakeVBoxManage } from "../../components/nodes/virtualbox/fake-vboxmanage";
import { get, startLoad, until, type LoadResult } from "../e2e/http";
import { bootMachines, Machine, removeMachines } from "../e2e/machines";
import { clusterStack as stack, succeeded } from "../e2e/stack";
import { afterwards, tearDown } from "../e2e/tear-down";
import { baseDisk, executable, expectNothingLeft, installPrograms } from "./virtualbox";

// A stack of three VirtualBox machines. VBoxManage is the fake of the unit tests; when it starts or stops a machine, one with an
// engine of its own boots or shuts down. `ssh` reaches that engine directly.

const names = ["node-1", "node-2", "node-3"];
const machines = names.map((name, index) => new Machine(name, index + 1));
const vboxManage = new FakeVBoxManage();
vboxManage.adapter = { name: "vboxnet0", address: "10.97.0.1" };
const urlOf = ({ address }: Machine): string => `http://${address}`;

/** What happened to the machines, in order. */
const events: string[] = [];
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

/** What the command does to the machine itself. */
async function power(verb: string, name: string): Promise<void> {
  const machine = machines.find((each) => name.endsWith(each.name));
  if (machine === undefined) return;
  if (verb === "unregistervm") machine.wipe();
  else if (verb === "controlvm") {
    await stopAsking(machine);
    const serving = await Promise.all(
      machines.filter((each) => each !== machine).map((each) => get(`${urlOf(each)}/alone/v1`)),
    );
    events.push(
      `${machine.name} stops while ${serving.map(({ status }) => status).join(" and ")} from the others`,
    );
    await machine.shutDown();
  } else if (isBooted) {
    events.push(`${machine.name} starts`);
    await machine.start();
  }
}
let isBooted = false;

/** Puts the programs that `script/up` runs for VirtualBox first in PATH. */
function install(): void {
  const bin = installPrograms({
    async VBoxManage(args) {
      const result = await vboxManage.run(args);
      const [verb = "", name = ""] = args;
      if (result.code === 0 && ["startvm", "controlvm", "unregistervm"].includes(verb))
        await power(verb, name);
      return result;
    },
    "qemu-img": fakeConvert,
  });
  executable(
    join(bin, "ssh"),
    "#!/bin/sh",
    `while [ "$1" != -- ]; do shift; done`,
    `case "$2" in`,
    // Go's Docker client passes the user as an option.
    ...machines.map(({ address, dockerHost }) => `  ${address} | *@${address}) engine=${dockerHost} ;;`),
    '  *) echo "no machine $2" >&2; exit 255 ;;',
    "esac",
    "shift 2",
    `if [ "$*" = "docker system dial-stdio" ]; then exec docker -H "$engine" system dial-stdio; fi`,
    // The first boot is over.
    `docker -H "$engine" info >/dev/null && echo ${readyFile}`,
  );
}

const configure = (machine: object): void => {
  const service = (name: string, replicas: number) => ({ name, build: "hello", port: 8080, replicas });
  stack.configure([service("hello/v1", 3), service("alone/v1", 1)], {
    target: "virtualbox",
    nodes: 3,
    machine: { network: "10.97.0.0/24", ...machine },
  });
};

/** The Swarm's nodes as the first machine sees them. */
async function nodes(): Promise<string[] | undefined> {
  const list = await machines[0]?.docker("node", "ls", "--format", "{{.Availability}} {{.Status}}");
  return list?.split("\n");
}

beforeAll(async () => {
  install();
  afterwards(removeMachines);
  await bootMachines(machines);
  // The download of Debian's image.
  mkdirSync(".switchyard/images", { recursive: true });
  fakeConvert([baseDisk]);
  afterwards(() => {
    rmSync(baseDisk, { force: true });
  });
  afterwards(() => stack.remove());
  configure({});
  succeeded(await stack.up());
  isBooted = true;
}, 1_200_000);
afterAll(tearDown);

test("a second up changes nothing", async () => {
  succeeded(await stack.up("--expect-no-changes"));
});

test("another memory restarts one machine after the other, and no request to those that are on fails", async () => {
  for (const machine of machines) ask(machine);
  configure({ memoryMb: 4096 });
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
  expect(await nodes()).toEqual(names.map(() => "Active Ready"));
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
  configure({ memoryMb: 4096, aptMirror: "http://mirror.example.com/debian" });
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
  expect(await nodes()).toEqual(names.map(() => "Active Ready"));
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
  // Without the first machine.
  expect((await members())?.split("\n").filter((line) => line.endsWith(" Ready"))).toHaveLength(2);
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
  expect(await nodes()).toEqual(names.map(() => "Active Ready"));
  for (const machine of machines) expect((await get(`${urlOf(machine)}/alone/v1`)).status).toBe(200);
  succeeded(await stack.up("--expect-no-changes"));
});

test("down leaves no machine, no medium, no key", async () => {
  succeeded(await stack.down());
  await expectNothingLeft(vboxManage);
});
