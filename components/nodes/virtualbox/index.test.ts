import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { engineProvider } from "../../../providers/engine";
import { UserError } from "../../../lib/errors";
import { run, type RunResult } from "../../../lib/run";
import { convertDisk, vboxManage } from "./command";
import { fakeConvert, FakeVBoxManage } from "./fake-vboxmanage";
import { seedIso } from "./seed-iso";
import { parseSettings } from "./settings";
import { imageProvider } from "./image";
import { machineName, machinesOff } from "./machine";
import { startMachines } from "./start";
import { requirePossible, vmProvider } from "./vm";

// test/targets/vboxmanage.test.ts runs the same tests on real VBoxManage, in a container.
const container = process.env["VBOX_CONTAINER"];
if (container !== undefined) vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });
/** Runs a program in the container. */
const inside = (...args: readonly string[]): Promise<RunResult> =>
  run("docker", ["exec", "-w", folder, container ?? "", ...args], { timeoutMs: 60_000 });

const programs = vi.hoisted(
  (): {
    vboxManage?: FakeVBoxManage;
    qemuImg?: (args: readonly string[]) => RunResult | Promise<RunResult>;
  } => ({}),
);
vi.mock("../../../lib/run", async (original) => {
  const real = await original<typeof import("../../../lib/run")>();
  const run: typeof real.run = (program, args, options) => {
    const { vboxManage: fake, qemuImg } = programs;
    if (program === "VBoxManage" && fake !== undefined) return fake.run(args);
    if (program === "qemu-img" && qemuImg !== undefined) return Promise.resolve(qemuImg(args));
    return real.run(program, args, options);
  };
  return { ...real, run };
});

let fake: FakeVBoxManage;
let folder: string;
let server: Server;
let content: Buffer;
const before = process.cwd();

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vbox-"));
  process.chdir(folder);
  content = Buffer.from("a disk");
  if (container === undefined) {
    fake = new FakeVBoxManage();
    programs.qemuImg = fakeConvert;
  } else {
    fake = new FakeVBoxManage((args) => inside("VBoxManage", ...args));
    programs.qemuImg = (args) => inside("qemu-img", ...args);
    await inside("qemu-img", "create", "-q", "-f", "qcow2", "source", "3G");
    content = readFileSync("source");
  }
  programs.vboxManage = fake;
  server = createServer((_request, response) => response.end(content)).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
});
afterEach(async () => {
  server.close();
  fake.failing = undefined;
  fake.installed = true;
  await vmProvider.delete?.(inputs().name, inputs());
  delete programs.qemuImg;
  process.chdir(before);
  rmSync(folder, { recursive: true });
});

const sha512 = () => createHash("sha512").update(content).digest("hex");
const image = () => ({
  url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.qcow2`,
  sha512: sha512(),
});
const baseDisk = () => `.switchyard/images/${sha512().slice(0, 16)}.vdi`;
const inputs = () => ({
  name: "switchyard-test-node-1",
  cpus: 2,
  memoryMb: 2048,
  diskGb: 20,
  baseDisk: baseDisk(),
  hostOnlyAdapter: "vboxnet0",
  address: "192.168.56.11",
  autostart: false,
  macs: ["080027000001", "080027000002"],
  seed: { "user-data": "#cloud-config\n", "meta-data": "instance-id: node-1\n" },
});
/** What VirtualBox knows about the machine; undefined if it knows no such machine. */
const machine = async (): Promise<Record<string, string> | undefined> => {
  const { code, stdout } = await fake.run(["showvminfo", inputs().name, "--machinereadable"]);
  if (code !== 0) return undefined;
  const lines = stdout.matchAll(/^"?([^"=\n]+)"?="?([^"\n]*)"?$/gm);
  return Object.fromEntries([...lines].map(([, key = "", value = ""]) => [key, value]));
};
/** The files of the registered disks and images of discs, relative to the project's folder. */
const media = async () => {
  const lists = [await fake.run(["list", "hdds"]), await fake.run(["list", "dvds"])];
  return lists.flatMap(({ stdout }) =>
    [...stdout.matchAll(/^Location: +(.*)$/gm)].map(([, location = ""]) => relative(folder, location)),
  );
};
const calls = () => fake.calls.join("\n");
/** Paths of everything that a run leaves. */
const files = () =>
  existsSync(".switchyard") ? readdirSync(".switchyard", { recursive: true, encoding: "utf8" }).sort() : [];
const ownFiles = () => files().filter((file) => file.startsWith("virtualbox/"));

describe("a VirtualBox machine", () => {
  beforeEach(async () => {
    await imageProvider.create(image());
  });

  test("is created, changed in place and removed", async () => {
    const one = inputs();
    const { id, outs = one } = await vmProvider.create(one);
    expect(await machine()).toMatchObject({
      VMState: "running",
      cpus: "2",
      memory: "2048",
      nic1: "nat",
      nic2: "hostonly",
      hostonlyadapter2: "vboxnet0",
      macaddress2: "080027000002",
    });
    const own = `.switchyard/virtualbox/${id}`;
    expect(await media()).toEqual([`${own}/disk.vdi`, `${own}/seed.iso`]);
    expect(statSync(`${own}/seed.iso`).mode & 0o777).toBe(0o600);
    await expect(vmProvider.read?.(id, outs)).resolves.toMatchObject({ id });

    const bigger = { ...one, memoryMb: 4096, diskGb: 40 };
    await expect(vmProvider.diff?.(id, outs, bigger)).resolves.toMatchObject({ changes: true, replaces: [] });
    await vmProvider.update?.(id, outs, bigger);
    expect(await machine()).toMatchObject({ VMState: "running", memory: "4096" });
    expect(calls()).toMatch(/modifymedium disk \S+disk.vdi --resize 40960/);

    await vmProvider.delete?.(id, bigger);
    expect(await machine()).toBeUndefined();
    expect(ownFiles()).toEqual([]);
    expect(await media()).toEqual([]);
    await expect(vmProvider.delete?.(id, bigger)).resolves.toBeUndefined();
    await expect(vmProvider.read?.(id, bigger)).resolves.toMatchObject({ id: "" });
  });

  test("is known to be impossible before its node is drained", async () => {
    const { seed, ...one } = inputs();
    const possible = (change: object, userData = seed["user-data"]) =>
      requirePossible({ ...one, ...change }, userData);
    await possible({ diskGb: 10 });
    const { id, outs = inputs() } = await vmProvider.create(inputs());
    await vmProvider.update?.(id, outs, { ...inputs(), diskGb: 40 });
    await possible({ diskGb: 40 });
    await possible({ diskGb: 50 });
    await expect(possible({ diskGb: 39 })).rejects.toThrow(
      new UserError(
        `machine.diskGb is 39, but the disk of ${id} has 40 GB, and a disk cannot shrink: set it to 40 or more`,
      ),
    );
    // It is replaced.
    await possible({ diskGb: 39 }, "#cloud-config\npackages: []\n");
    await expect(possible({ diskGb: 40, hostOnlyAdapter: "vboxnet9" })).rejects.toThrow(
      "VirtualBox has no host-only adapter vboxnet9",
    );
    await vmProvider.delete?.(id, outs);
  });

  test("is created again, with an image that is made again, after all was removed", async () => {
    for (let round = 1; round <= 2; round++) {
      const { id, outs } = await imageProvider.create(image());
      if (outs === undefined) throw new Error("no state");
      const { id: vm, outs: state = inputs() } = await vmProvider.create(inputs());
      expect(await machine()).toMatchObject({ VMState: "running" });
      await vmProvider.delete?.(vm, state);
      await imageProvider.delete?.(id, outs);
      expect(files()).toEqual(["images", "virtualbox"]);
      expect(await media()).toEqual([]);
    }
  });

  test("is created where an earlier version left its disks in the registry", async () => {
    // A run was killed after this machine had got its disk, whose file was removed by hand.
    const own = join(folder, ".switchyard/virtualbox", inputs().name);
    mkdirSync(own, { recursive: true });
    const disk = join(own, "disk.vdi");
    for (const file of [disk, join(folder, baseDisk())]) {
      await convertDisk(baseDisk(), `${file}.new`);
      renameSync(`${file}.new`, file);
      await vboxManage("modifymedium", "disk", file, "--resize", "4096");
    }
    rmSync(disk);
    rmSync(baseDisk());
    writeFileSync(join(own, "seed.iso"), "of that run");
    const { id, outs } = await imageProvider.create(image());
    await vmProvider.create(inputs());
    expect(await machine()).toMatchObject({ VMState: "running" });
    await vmProvider.delete?.(inputs().name, inputs());
    if (outs !== undefined) await imageProvider.delete?.(id, outs);
    expect(await media()).toEqual([]);
  });

  test.each(["poweroff", "aborted", "saved", "aborted-saved"])(
    "is updated, resized and started from the state %s",
    async (state) => {
      const one = inputs();
      const { id, outs = one } = await vmProvider.create(one);
      const bigger = { ...one, cpus: 4, diskGb: 40 };
      fake.setState(id, state);
      await vmProvider.update?.(id, outs, bigger);
      expect(await machine()).toMatchObject({ VMState: "running", cpus: "4" });
      expect(calls()).toMatch(/modifymedium disk \S+disk.vdi --resize 40960/);

      fake.setState(id, state);
      await vmProvider.delete?.(id, bigger);
      expect(await machine()).toBeUndefined();
    },
  );

  test.each(["poweroff", "aborted", "saved"])("in the state %s is started as it is", async (state) => {
    const { id, outs = inputs() } = await vmProvider.create(inputs());
    await expect(vmProvider.diff?.(id, outs, inputs())).resolves.toMatchObject({ changes: false });
    fake.setState(id, state);
    const read = await vmProvider.read?.(id, outs);
    expect(read).toMatchObject({ id, props: { running: false } });
    const olds = read?.props ?? outs;
    await expect(vmProvider.diff?.(id, olds, inputs())).resolves.toMatchObject({
      changes: true,
      replaces: [],
    });
    const before = calls();
    const updated = await vmProvider.update?.(id, olds, inputs());
    expect(await machine()).toMatchObject({ VMState: "running" });
    expect(calls().slice(before.length)).not.toContain("modifyvm");
    expect(updated?.outs).toMatchObject({ running: true });
  });

  test("that is off is started before a refresh, which waits for Docker on it", async () => {
    const { id } = await vmProvider.create(inputs());
    const read = vi.spyOn(engineProvider, "read").mockResolvedValue({ id: "" });
    const log = vi.spyOn(console, "error").mockReturnValue();
    const type = "pulumi-nodejs:dynamic/switchyard:";
    const resources = [
      { type: `${type}VirtualBoxVm`, urn: "urn:vm", id },
      {
        type: `${type}DockerEngine`,
        urn: "urn:engine",
        id: "ssh://one",
        outputs: { host: "ssh://one" },
        deletedWith: "urn:vm",
      },
      {
        type: `${type}DockerEngine`,
        urn: "urn:other",
        id: "ssh://two",
        outputs: { host: "ssh://two" },
        deletedWith: "urn:x",
      },
    ];
    await startMachines({ resources });
    expect(read).not.toHaveBeenCalled();
    for (const state of [{ resources }, { deployment: { resources } }]) {
      fake.setState(id, "aborted");
      await startMachines(state);
      expect(await machine()).toMatchObject({ VMState: "running" });
    }
    expect(read.mock.calls).toEqual([1, 2].map(() => ["ssh://one", { host: "ssh://one" }]));
    expect(log).toHaveBeenCalledWith(`==> starting ${id}, which is off (aborted)`);
    await startMachines({});
    vi.restoreAllMocks();
  });

  test("that does not start, or whose Docker does not come, is named, and the others are started", async () => {
    const read = vi.spyOn(engineProvider, "read").mockRejectedValue(new Error("Docker did not answer"));
    const log = vi.spyOn(console, "error").mockReturnValue();
    const type = "pulumi-nodejs:dynamic/switchyard:";
    const { id } = await vmProvider.create(inputs());
    const other = { ...inputs(), name: "switchyard-test-node-2", macs: ["080027000003", "080027000004"] };
    await vmProvider.create(other);
    fake.setState(id, "aborted");
    fake.setState(other.name, "aborted");
    fake.failing = `startvm ${id}`;
    const resources = [
      { type: `${type}VirtualBoxVm`, urn: "urn:vm", id },
      { type: `${type}VirtualBoxVm`, urn: "urn:other", id: other.name },
      { type: `${type}DockerEngine`, urn: "urn:engine", id: "ssh://two", deletedWith: "urn:other" },
    ];
    await expect(startMachines({ resources })).rejects.toThrow(
      new UserError(
        `Machine ${id} is off and does not start (VBoxManage startvm ${id} --type headless: Told to fail): correct that and run again\n` +
          "Machine switchyard-test-node-2 was off, and is started: Docker did not answer",
      ),
    );
    expect(read).toHaveBeenCalledOnce();
    expect(log).toHaveBeenCalledTimes(2);
    vi.restoreAllMocks();
    await vmProvider.delete?.(other.name, other);
  });

  test("that is off is named before a preview, which would wait for Docker on it", async () => {
    const { id } = await vmProvider.create({ ...inputs(), name: machineName("lab", "node-2") });
    expect(await machinesOff("lab")).toEqual([]);
    fake.setState(id, "aborted");
    expect(await machinesOff("lab")).toEqual([
      "machine switchyard-lab-node-2, which is off (aborted): script/up starts it",
    ]);
    expect(await machinesOff("la")).toEqual([]);
    expect(await machinesOff("lab-node-2")).toEqual([]);
    await vmProvider.delete?.(id, inputs());
  });

  test("starts with the computer if VirtualBox can do that", async () => {
    await expect(vmProvider.create({ ...inputs(), autostart: true })).rejects.toThrow(
      /The path to the autostart database is not set: set it .*, or set machine.autostart to false/,
    );
    expect(await machine()).toBeUndefined();
    if (container !== undefined) return;
    fake.autostart = true;
    const { id, outs = inputs() } = await vmProvider.create({ ...inputs(), autostart: true });
    expect(await machine()).toMatchObject({ "autostart-enabled": "on", "autostop-type": "acpishutdown" });
    await expect(vmProvider.diff?.(id, outs, inputs())).resolves.toMatchObject({
      changes: true,
      replaces: [],
    });
    await vmProvider.delete?.(id, outs);
    expect(calls()).toMatch(/--autostart-enabled off .*\nunregistervm/);
  });

  test("of an earlier version is left alone", async () => {
    const olds: Partial<ReturnType<typeof inputs>> = inputs();
    delete olds.autostart;
    delete olds.address;
    await expect(vmProvider.diff?.("x", olds as ReturnType<typeof inputs>, inputs())).resolves.toMatchObject({
      changes: false,
    });
  });

  test("is replaced for changes that cannot be made in place", async () => {
    const one = inputs();
    for (const change of [{ seed: { "user-data": "renewed" } }, { macs: [] }]) {
      await expect(vmProvider.diff?.("x", one, { ...one, ...change })).resolves.toMatchObject({
        replaces: [Object.keys(change)[0]],
        deleteBeforeReplace: true,
      });
    }
    for (const change of [
      {},
      { baseDisk: "of a later release" },
      { seed: { ...one.seed, "network-config": "of a later release" } },
    ])
      await expect(vmProvider.diff?.("x", one, { ...one, ...change })).resolves.toMatchObject({
        changes: false,
      });
  });

  test("keeps its address, and its disk unless it is replaced anyway", async () => {
    const one = inputs();
    const check = async (change: object) => (await vmProvider.check?.(one, { ...one, ...change }))?.failures;
    expect(await check({ diskGb: 10 })).toMatchObject([
      { reason: expect.stringMatching(/^machine\.diskGb is 10, but .* set it to 20 or more$/) as string },
    ]);
    expect(await check({ diskGb: 10, seed: { "user-data": "renewed" } })).toEqual([]);
    expect(await check({ address: "10.0.0.11" })).toMatchObject([
      { reason: expect.stringMatching(/^machine\.network would move .* run script\/down first$/) as string },
    ]);
    expect(await check({ diskGb: 30 })).toEqual([]);
  });

  test.each(["createvm", "--nic2", "modifymedium", "--port 0", "--port 1", "startvm"])(
    "leaves nothing behind when %s fails",
    async (step) => {
      fake.failing = step;
      await expect(vmProvider.create(inputs())).rejects.toThrow("Told to fail");
      fake.failing = undefined;
      expect(await machine()).toBeUndefined();
      expect(ownFiles()).toEqual([]);
      expect(await media()).toEqual([]);
    },
  );

  test("is removed although VirtualBox has closed its media meanwhile", async () => {
    const { id, outs = inputs() } = await vmProvider.create(inputs());
    fake.closesItself = true;
    await vmProvider.delete?.(id, outs);
    fake.closesItself = false;
    expect(ownFiles()).toEqual([]);
    expect(await media()).toEqual([]);
  });

  test("tells what it could not remove after a failure", async () => {
    programs.qemuImg = () => {
      fake.failing = "unregistervm";
      return { code: 1, stdout: "", stderr: "no space\n" };
    };
    await expect(vmProvider.create(inputs())).rejects.toThrow(
      /no space; and the machine cannot be removed: VBoxManage unregistervm .*: Told to fail/,
    );
  });

  test("is refused with the address of another stack's machine", async () => {
    const others = [
      "switchyard-a-node-1-node-1",
      "switchyard-test-node-2",
      "switchyard-test-node-11",
      "of-node-1",
    ];
    const taken =
      "Machine switchyard-a-node-1-node-1 of another stack has the address of this node, 192.168.56.11, on the host-only " +
      "adapter vboxnet0: set switchyard:machine.network and switchyard:machine.hostOnlyAdapter to a network and an adapter that no " +
      "other stack has, or remove that stack (script/down)";
    for (const name of others)
      await fake.run(["createvm", "--name", name, "--basefolder", folder, "--register"]);
    const at = (name: string, adapter: string) =>
      fake.run(["modifyvm", name, "--nic2", "hostonly", "--hostonlyadapter2", adapter]);
    for (const name of others) await at(name, "vboxnet0");
    await expect(vmProvider.create(inputs())).rejects.toThrow(new Error(taken));
    expect(await machine()).toBeUndefined();

    await at("switchyard-a-node-1-node-1", "vboxnet1");
    const elsewhere = { ...inputs(), hostOnlyAdapter: "vboxnet1" };
    const { id, outs = inputs() } = await vmProvider.create(inputs());
    await at("switchyard-a-node-1-node-1", "vboxnet0");
    await expect(vmProvider.update?.(id, { ...outs, hostOnlyAdapter: "vboxnet1" }, inputs())).rejects.toThrow(
      taken,
    );
    expect(await machine()).toMatchObject({ VMState: "running" });
    // One that has its place keeps it.
    await vmProvider.update?.(id, outs, { ...inputs(), cpus: 4 });
    await vmProvider.update?.(id, outs, elsewhere);
    for (const name of others) await fake.run(["unregistervm", name, "--delete"]);
  });

  test("leaves a machine of the same stack in another project alone", async () => {
    const other = mkdtempSync(join(folder, "other-"));
    process.chdir(other);
    await vmProvider.create({ ...inputs(), baseDisk: join(folder, baseDisk()) });
    process.chdir(folder);
    await expect(vmProvider.create(inputs())).rejects.toThrow(
      new Error(
        `VirtualBox already has a machine ${inputs().name}, of a stack of the same name in another project, whose files are in ` +
          `${other}/.switchyard/virtualbox/${inputs().name}: rename this stack, or remove that one (script/down there)`,
      ),
    );
    expect(await machine()).toMatchObject({ VMState: "running" });
    process.chdir(other);
    await vmProvider.delete?.(inputs().name, inputs());
  });

  test("leaves a machine of the same name that is not ours alone", async () => {
    await vmProvider.create(inputs());
    await expect(vmProvider.create(inputs())).rejects.toThrow(
      "which this state does not know, perhaps because its creation was killed: remove it",
    );
    expect(await machine()).toMatchObject({ VMState: "running" });
    expect(await media()).toHaveLength(2);
  });

  test("requires VirtualBox 7 and the host-only adapter", async () => {
    fake.version = "6.1.50r161033";
    await expect(vmProvider.create(inputs())).rejects.toThrow(
      "VirtualBox 6.1.50r161033 is too old: install 7.0",
    );
    fake.version = "7.0.0";
    await expect(vmProvider.create({ ...inputs(), hostOnlyAdapter: "vboxnet9" })).rejects.toThrow(
      "VBoxManage hostonlyif create",
    );
    fake.installed = false;
    await expect(vmProvider.create(inputs())).rejects.toThrow(
      "VBoxManage is not installed: install VirtualBox 7.0",
    );
  });
});

describe("VBoxManage", () => {
  test("runs one command at a time, again while VirtualBox's service starts", async () => {
    fake.unready = 2;
    await Promise.all([1, 2, 3].map(() => vboxManage("list", "hdds")));
    expect(fake.calls).toHaveLength(5);
  });

  test.each([
    [
      ["modifymedium", "disk", "/none.vdi", "--resize", "4096"],
      "VBoxManage modifymedium disk /none.vdi --resize 4096: Could not find file for the medium '/none.vdi' (VERR_FILE_NOT_FOUND)",
    ],
    [
      ["showvminfo", "none", "--machinereadable"],
      "VBoxManage showvminfo none --machinereadable: Could not find a registered machine named 'none'",
    ],
  ])("%j fails with the command and its cause", async (args, message) => {
    await expect(vboxManage(...args)).rejects.toThrow(new Error(message));
  });

  test("names causes that come late, and the driver that is missing", async () => {
    const base = join(folder, ".switchyard/virtualbox");
    await vboxManage("createvm", "--name", inputs().name, "--basefolder", base, "--register");
    await vboxManage("storagectl", inputs().name, "--name", "SATA", "--add", "sata");
    const disc = ["--storagectl", "SATA", "--port", "1", "--type", "dvddrive", "--medium", "/none.iso"];
    await expect(vboxManage("storageattach", inputs().name, ...disc)).rejects.toThrow(
      `Could not find file for the medium '/none.iso' (VERR_FILE_NOT_FOUND); Invalid UUID or filename "/none.iso"`,
    );
    fake.noDriver = true;
    await expect(vboxManage("startvm", inputs().name, "--type", "headless")).rejects.toThrow(
      /terminated unexpectedly during startup with exit code 1 \(0x1\); WARNING: The character device \/dev\/vboxdrv does not exist\. Please install/,
    );
  });
});

describe("the host-only adapter", () => {
  const check = async (change: object) => {
    const none = {} as ReturnType<typeof inputs>;
    const { failures = [] } = (await vmProvider.check?.(none, { ...inputs(), ...change })) ?? {};
    return failures.map(({ reason }) => reason);
  };

  test("is compared with machine.network before anything is made", async () => {
    await expect(check({})).resolves.toEqual([]);
    await expect(check({ address: "192.168.57.11" })).resolves.toEqual([
      "machine.network is 192.168.57.0/24, but the host-only adapter vboxnet0 has the address 192.168.56.1: " +
        "set machine.network to 192.168.56.0/24, or change the adapter (VBoxManage hostonlyif ipconfig vboxnet0 --ip 192.168.57.1)",
    ]);
    await expect(check({ address: "192.168.56.1" })).resolves.toEqual([
      expect.stringContaining("has the address of this node, 192.168.56.1: give it another") as string,
    ]);
    await expect(check({ hostOnlyAdapter: "vboxnet1" })).resolves.toEqual([
      expect.stringContaining("VirtualBox has no host-only adapter vboxnet1: create it") as string,
    ]);
  });

  test("needs an address", async () => {
    fake.adapter = { name: "vboxnet0", address: "0.0.0.0" };
    await expect(check({})).resolves.toEqual([
      "The host-only adapter vboxnet0 has no address: give it one (VBoxManage hostonlyif ipconfig vboxnet0 --ip 192.168.56.1)",
    ]);
  });

  test("is not needed for a preview where VirtualBox is not installed", async () => {
    fake.installed = false;
    await expect(check({ address: "192.168.57.11" })).resolves.toEqual([]);
  });
});

describe("the image", () => {
  const images = () => readdirSync(join(folder, ".switchyard/images"));

  test("is downloaded once, recreated if missing, and removed", async () => {
    const { id, outs } = await imageProvider.create(image());
    if (outs === undefined) throw new Error("no state");
    expect(images()).toEqual([`${sha512().slice(0, 16)}.vdi`]);
    const again = { ...image(), url: "http://127.0.0.1:1/not-asked" };
    await expect(imageProvider.create(again)).resolves.toMatchObject({ id });
    await imageProvider.delete?.(id, outs);
    expect(images()).toEqual([]);
    await expect(imageProvider.read?.(id, outs)).resolves.toMatchObject({ id: "" });
  });

  test("is rejected with a wrong checksum or if it cannot be converted", async () => {
    const other = { ...image(), sha512: "0".repeat(128) };
    await expect(imageProvider.create(other)).rejects.toThrow(
      /has changed: its SHA-512 is [0-9a-f]{128}, not 0{128}/,
    );
    programs.qemuImg = () => ({ code: 1, stdout: "", stderr: "no space\n" });
    await expect(imageProvider.create(image())).rejects.toThrow(/qemu-img convert -O vdi \S+ \S+: no space/);
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
