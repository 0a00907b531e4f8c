import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname, resolve } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { FakeVBoxManage } from "../../components/nodes/virtualbox/fake-vboxmanage";
import type { RunResult } from "../../lib/run";
import { until } from "../e2e/http";
import { machineDockerfile } from "../e2e/machine";
import { scratch } from "../e2e/scratch";
import { clusterStack as stack, succeeded } from "../e2e/stack";
import { afterwards, tearDown } from "../e2e/tear-down";
import { inContainer, ip, runInContainer, startContainer } from "./container";
import { drive, Guest, kernel, makeSystem, type System } from "./guest";
import { baseDisk, expectNothingLeft, installPrograms } from "./virtualbox";

// A stack of one VirtualBox machine, from its first boot to its end, with real VBoxManage, qemu-img and ssh. As there is no kernel
// driver of VirtualBox, QEMU runs the machine.

/** A name by which a later run recognises and removes it. */
const adapter = "sw-e2e-vbox";
const network = "10.96.0";
const page = `http://${network}.11/hello/v1`;

const vboxManage = new FakeVBoxManage((args) => runInContainer("VBoxManage", ...args));
vboxManage.adapter = { name: adapter, address: `${network}.1` };
const { path: files } = scratch();
let system: System;
let guest: Guest | undefined;

/** Runs VBoxManage, and does to the machine what VirtualBox would. */
async function withPower(args: readonly string[]): Promise<RunResult> {
  const [verb, name = "", button] = args;
  const result = await vboxManage.run(args);
  if (result.code !== 0) return result;
  if (verb === "startvm") {
    const { stdout } = await vboxManage.run(["showvminfo", name, "--machinereadable"]);
    guest = await Guest.start(system, optionsOf(stdout));
  } else if (verb === "controlvm") {
    await (button === "acpipowerbutton" ? guest?.shutDown() : guest?.kill());
  }
  return result;
}

/** QEMU's options for a machine as `showvminfo --machinereadable` describes it. */
function optionsOf(settings: string): string[] {
  const value = (key: string): string =>
    new RegExp(`^"?${key}"?="?([^"\n]*)"?$`, "m").exec(settings)?.[1] ?? "";
  const mac = (key: string): string => value(key).match(/../g)?.join(":") ?? "";
  return [
    ...["-smp", value("cpus"), "-m", value("memory")],
    ...drive(0, "hd", "vdi", value("SATA-0-0")),
    ...drive(1, "cd", "raw", value("SATA-1-0")),
    ...["-netdev", "user,id=outside", "-device", `virtio-net-pci,netdev=outside,mac=${mac("macaddress1")}`],
    ...["-netdev", `tap,id=inside,ifname=${adapter},script=no,downscript=no`],
    ...["-device", `virtio-net-pci,netdev=inside,mac=${mac("macaddress2")}`],
  ];
}

const configure = (machine: object): void => {
  const hello = { name: "hello/v1", build: "hello", port: 8080, replicas: 2, env: { NAME: "hello/v1" } };
  stack.configure([hello], {
    target: "virtualbox",
    nodes: 1,
    machine: { network: `${network}.0/24`, hostOnlyAdapter: adapter, ...machine },
  });
};
/** The download of Debian's image. */
const placeImage = async (): Promise<void> => {
  mkdirSync(dirname(baseDisk), { recursive: true });
  await inContainer("qemu-img", "convert", "-O", "vdi", system.disk, resolve(baseDisk));
};
const answers = async (): Promise<void> => {
  const { status, body } = await until(page, ({ status }) => status === 200, { seconds: 60 });
  expect({ status, body }).toMatchObject({
    status: 200,
    body: expect.stringContaining("hello/v1") as string,
  });
};

beforeAll(async () => {
  await startContainer([files, resolve(".switchyard")], "host");
  await ip(`tuntap add ${adapter} mode tap user ${userInfo().uid}`);
  afterwards(() => ip(`link del ${adapter}`));
  await ip(`addr add ${network}.1/24 dev ${adapter}`);
  await ip(`link set ${adapter} up`);
  // The equivalent of Debian's image for machines.
  system = await makeSystem(files, machineDockerfile + kernel);
  await placeImage();
  afterwards(() => {
    rmSync(baseDisk, { force: true });
  });
  installPrograms({ VBoxManage: withPower, "qemu-img": (args) => runInContainer("qemu-img", ...args) });
  afterwards(() => stack.remove());
}, 1_200_000);
afterAll(tearDown);

test("a machine sets itself up by its user data and serves", async () => {
  configure({});
  succeeded(await stack.up());
  await answers();
  succeeded(await stack.up("--expect-no-changes"));
});

test("another memory restarts it", async () => {
  configure({ memoryMb: 3072 });
  succeeded(await stack.up());
  const [, kilobytes] = /Memory: \d+K\/(\d+)K available/.exec(readFileSync(system.console, "utf8")) ?? [];
  expect(Number(kilobytes) / 1024).toBeCloseTo(3072, -1);
  await answers();
  succeeded(await stack.up("--expect-no-changes"));
});

test("up starts it after the computer was restarted", async () => {
  await guest?.kill();
  vboxManage.setState("switchyard-cluster-node-1", "aborted");
  const { output } = succeeded(await stack.up());
  expect(output).toMatch(/starting switchyard-cluster-node-1, which is off \(aborted\)/);
  await answers();
});

test("down leaves nothing, and up makes it again", async () => {
  succeeded(await stack.down());
  await expectNothingLeft(vboxManage);
  // Another UUID in VirtualBox's eyes.
  await placeImage();
  succeeded(await stack.up());
  await answers();
  succeeded(await stack.down());
  await expectNothingLeft(vboxManage);
});
