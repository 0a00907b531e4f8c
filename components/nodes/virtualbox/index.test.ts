import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { seedIso } from "./seed-iso";
import { parseSettings } from "./settings";
import { imageProvider } from "./image";
import { vmProvider } from "./vm";

// Every call of the fake VBoxManage starts a process, which takes time.
vi.setConfig({ testTimeout: 60_000 });

// VirtualBox cannot run here. The fake keeps its machines in a JSON file and logs its calls, fails at the step in $FAIL, and
// rejects what the real VBoxManage rejects in the machine's state.
const fake = `#!/usr/bin/env node
const fs = require("fs");
const path = require("path");
const [, self, ...args] = process.argv;
const folder = path.dirname(self);
const file = path.join(folder, "machines.json");
const machines = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : {};
const fail = (text) => { console.error("VBoxManage: error: " + text); process.exit(1); };
fs.appendFileSync(path.join(folder, "calls"), args.join(" ") + "\\n");
if (process.env.FAIL && args.join(" ").includes(process.env.FAIL)) fail("told to fail");
const [verb, name] = args;
const after = (key) => args[args.indexOf(key) + 1];
const known = () => machines[name] ?? fail("Could not find a registered machine named '" + name + "'");
if (verb === "--version") console.log(process.env.VERSION ?? "7.1.4r165100");
else if (verb === "list") console.log("Name:            vboxnet0\\nIPAddress:       192.168.56.1");
else if (verb === "createvm") machines[after("--name")] = { VMState: "poweroff" };
else if (verb === "showvminfo") for (const [key, value] of Object.entries(known())) console.log(key + '="' + value + '"');
else if (verb === "modifyvm") {
  if (!["poweroff", "aborted"].includes(known().VMState)) fail("The machine is not mutable (state is " + known().VMState + ")");
  for (let i = 2; i < args.length; i += 2) machines[name][args[i].slice(2)] = args[i + 1];
} else if (verb === "startvm") {
  if (known().VMState === "running") fail("The machine '" + name + "' is already locked by a session (or being locked or unlocked)");
  known().VMState = "running";
} else if (verb === "controlvm") {
  // Like the real VBoxManage, rejects commands to a machine that does not run.
  if (known().VMState !== "running") fail("Machine '" + name + "' is not currently running.");
  known().VMState = "poweroff";
} else if (verb === "discardstate") {
  if (!["saved", "aborted-saved"].includes(known().VMState)) fail("Machine is not in the Saved state: " + known().VMState);
  known().VMState = "poweroff";
} else if (verb === "unregistervm") {
  if (!["poweroff", "aborted"].includes(known().VMState)) fail("Cannot unregister the machine '" + name + "' while it is " + known().VMState);
  delete machines[name];
} else if (!["storagectl", "storageattach", "clonemedium", "modifymedium"].includes(verb)) fail("Unknown command " + verb);
fs.writeFileSync(file, JSON.stringify(machines));
`;

let folder: string;
let server: Server;
const before = process.cwd();
const content = "a disk";

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vbox-"));
  const install = (name: string, script: string) => {
    writeFileSync(join(folder, name), script);
    chmodSync(join(folder, name), 0o755);
  };
  install("VBoxManage", fake);
  install("qemu-img", `#!/bin/sh\ncp "$4" "$5"\n`);
  vi.stubEnv("PATH", `${folder}${delimiter}${process.env["PATH"] ?? ""}`);
  process.chdir(folder);
  server = createServer((_request, response) => response.end(content)).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
});
afterEach(() => {
  server.close();
  process.chdir(before);
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const inputs = () => ({
  name: "switchyard-test-node-1",
  cpus: 2,
  memoryMb: 2048,
  diskGb: 20,
  baseDisk: ".switchyard/images/debian.vdi",
  hostOnlyAdapter: "vboxnet0",
  macs: ["080027000001", "080027000002"],
  seed: { "user-data": "#cloud-config\n", "meta-data": "instance-id: node-1\n" },
});
type Machines = Record<string, Record<string, string>>;
const machines = () => JSON.parse(readFileSync(join(folder, "machines.json"), "utf8")) as Machines;
const setState = (id: string, state: string) => {
  writeFileSync(
    join(folder, "machines.json"),
    JSON.stringify({ [id]: { ...machines()[id], VMState: state } }),
  );
};
const calls = () => readFileSync(join(folder, "calls"), "utf8");

describe("a VirtualBox machine", () => {
  test("is created, changed in place and removed", async () => {
    const one = inputs();
    const { id, outs = one } = await vmProvider.create(one);
    expect(machines()[id]).toMatchObject({
      VMState: "running",
      cpus: "2",
      memory: "2048",
      nic1: "nat",
      nic2: "hostonly",
      hostonlyadapter2: "vboxnet0",
      macaddress2: "080027000002",
    });
    expect(existsSync(join(folder, ".switchyard/virtualbox", id, "seed.iso"))).toBe(true);
    await expect(vmProvider.read?.(id, outs)).resolves.toMatchObject({ id });

    const bigger = { ...one, memoryMb: 4096, diskGb: 40 };
    await expect(vmProvider.diff?.(id, outs, bigger)).resolves.toMatchObject({ changes: true, replaces: [] });
    await vmProvider.update?.(id, outs, bigger);
    expect(machines()[id]).toMatchObject({ VMState: "running", memory: "4096" });
    expect(calls()).toMatch(/modifymedium disk \S+disk.vdi --resize 40960/);

    await vmProvider.delete?.(id, bigger);
    expect(machines()).toEqual({});
    await expect(vmProvider.delete?.(id, bigger)).resolves.toBeUndefined();
    await expect(vmProvider.read?.(id, bigger)).resolves.toMatchObject({ id: "" });
  });

  test.each(["poweroff", "aborted", "saved", "aborted-saved"])(
    "is updated, resized and started from the state %s",
    async (state) => {
      const one = inputs();
      const { id, outs = one } = await vmProvider.create(one);
      const bigger = { ...one, cpus: 4, diskGb: 40 };
      setState(id, state);
      await vmProvider.update?.(id, outs, bigger);
      expect(machines()[id]).toMatchObject({ VMState: "running", cpus: "4" });
      expect(calls()).toMatch(/modifymedium disk \S+disk.vdi --resize 40960/);

      setState(id, state);
      await vmProvider.delete?.(id, bigger);
      expect(machines()).toEqual({});
    },
  );

  test("is replaced for changes that cannot be made in place", async () => {
    const one = inputs();
    for (const change of [{ diskGb: 10 }, { seed: {} }, { baseDisk: "x" }, { macs: [] }]) {
      await expect(vmProvider.diff?.("x", one, { ...one, ...change })).resolves.toMatchObject({
        replaces: [Object.keys(change)[0]],
        deleteBeforeReplace: true,
      });
    }
    await expect(vmProvider.diff?.("x", one, { ...one })).resolves.toMatchObject({ changes: false });
  });

  test.each(["createvm", "--nic2", "clonemedium", "--port 1", "startvm"])(
    "leaves nothing behind when %s fails",
    async (step) => {
      vi.stubEnv("FAIL", step);
      await expect(vmProvider.create(inputs())).rejects.toThrow("told to fail");
      vi.stubEnv("FAIL", "");
      expect(step === "createvm" || Object.keys(machines()).length === 0).toBe(true);
    },
  );

  test("leaves a machine of the same name that is not ours alone", async () => {
    await vmProvider.create(inputs());
    await expect(vmProvider.create(inputs())).rejects.toThrow("does not belong to this stack: remove it");
    expect(Object.keys(machines())).toHaveLength(1);
  });

  test("requires VirtualBox 7 and the host-only adapter", async () => {
    vi.stubEnv("VERSION", "6.1.50r161033");
    await expect(vmProvider.create(inputs())).rejects.toThrow(
      "VirtualBox 6.1.50r161033 is too old: install 7.0",
    );
    vi.stubEnv("VERSION", "7.0.0");
    await expect(vmProvider.create({ ...inputs(), hostOnlyAdapter: "vboxnet9" })).rejects.toThrow(
      "VBoxManage hostonlyif create",
    );
    rmSync(join(folder, "VBoxManage"));
    await expect(vmProvider.create(inputs())).rejects.toThrow(
      "VBoxManage is not installed: install VirtualBox 7.0",
    );
  });
});

describe("the image", () => {
  const sha512 = createHash("sha512").update(content).digest("hex");
  const url = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.qcow2`;
  const images = () => readdirSync(join(folder, ".switchyard/images"));

  test("is downloaded once, recreated if missing, and removed", async () => {
    const { id, outs } = await imageProvider.create({ url: url(), sha512 });
    if (outs === undefined) throw new Error("no state");
    expect(images()).toEqual([`${sha512.slice(0, 16)}.vdi`]);
    const again = { url: "http://127.0.0.1:1/not-asked", sha512 };
    await expect(imageProvider.create(again)).resolves.toMatchObject({ id });
    await imageProvider.delete?.(id, outs);
    expect(images()).toEqual([]);
    await expect(imageProvider.read?.(id, outs)).resolves.toMatchObject({ id: "" });
  });

  test("is rejected with a wrong checksum or if it cannot be converted", async () => {
    const other = { url: url(), sha512: "0".repeat(128) };
    await expect(imageProvider.create(other)).rejects.toThrow(
      /has changed: its SHA-512 is [0-9a-f]{128}, not 0{128}/,
    );
    writeFileSync(join(folder, "qemu-img"), "#!/bin/sh\necho no space >&2; exit 1\n");
    await expect(imageProvider.create({ url: url(), sha512 })).rejects.toThrow(
      "qemu-img convert -O: no space",
    );
    expect(images()).toEqual([]);
  });
});

test("the seed is a volume named CIDATA that contains the files", () => {
  const image = seedIso({ "user-data": "#cloud-config\n", "meta-data": "x".repeat(3000) });
  expect(image.length % 2048).toBe(0);
  expect(image.toString("latin1", 16 * 2048 + 1, 16 * 2048 + 6)).toBe("CD001");
  expect(image.toString("latin1", 16 * 2048 + 40, 16 * 2048 + 72).trimEnd()).toBe("CIDATA");
  const root = image.toString("latin1", 20 * 2048, 21 * 2048);
  expect(root).toContain("USER-DATA.;1");
  expect(root.indexOf("META-DATA")).toBeLessThan(root.indexOf("USER-DATA"));
  expect(image.toString("latin1", 21 * 2048, 21 * 2048 + 14)).toBe("#cloud-config\n");
  expect(image.subarray(22 * 2048, 22 * 2048 + 3000).every((byte) => byte === 120)).toBe(true);
});

test.each<[object, string]>([
  [{ cpus: 0 }, "machine.cpus"],
  [{ memory: 1 }, "machine.memory is not known"],
  [{ network: "192.168.56.1/24" }, "machine.network"],
  [{ hostOnlyAdapter: "--nic3" }, "machine.hostOnlyAdapter"],
])("%j is rejected", (value, message) => {
  expect(() => parseSettings(value)).toThrow(message);
});
