import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import * as pulumi from "@pulumi/pulumi";

import { seedIso } from "./seed-iso";
import { run } from "./image";

/** What a {@link VirtualBoxVm} is made from. */
export interface VirtualBoxVmArgs {
  /** Name of the machine in VirtualBox. */
  readonly name: pulumi.Input<string>;
  readonly cpus: pulumi.Input<number>;
  readonly memoryMb: pulumi.Input<number>;
  /** May grow in place, never shrink. */
  readonly diskGb: pulumi.Input<number>;
  /** The disk that its own begins as a copy of. */
  readonly baseDisk: pulumi.Input<string>;
  /** Name of the host-only adapter of this machine that the nodes share. */
  readonly hostOnlyAdapter: pulumi.Input<string>;
  /** MAC addresses, 12 hexadecimal digits, of the adapters to the outside and to the other nodes. */
  readonly macs: pulumi.Input<pulumi.Input<string>[]>;
  /** The files of NoCloud's seed, by name. */
  readonly seed: pulumi.Input<Record<string, pulumi.Input<string>>>;
}

interface VmInputs {
  readonly name: string;
  readonly cpus: number;
  readonly memoryMb: number;
  readonly diskGb: number;
  readonly baseDisk: string;
  readonly hostOnlyAdapter: string;
  readonly macs: readonly string[];
  readonly seed: Readonly<Record<string, string>>;
}

const MACHINES = join(".switchyard", "virtualbox");

async function requireVirtualBox(adapter: string): Promise<void> {
  const version = (await run("VBoxManage", "--version")).trim().split("\n").at(-1) ?? "";
  if (!(Number.parseInt(version, 10) >= 7)) {
    throw new Error(`VirtualBox is ${version}, which is too old: install 7.0 or later`);
  }
  const adapters = await run("VBoxManage", "list", "hostonlyifs");
  if (!adapters.split("\n").some((line) => /^Name: +(.*)$/.exec(line)?.[1] === adapter)) {
    throw new Error(
      `VirtualBox has no host-only adapter ${adapter}: make it with VBoxManage hostonlyif create, or name one in machine.hostOnlyAdapter`,
    );
  }
}

async function info(name: string): Promise<ReadonlyMap<string, string> | undefined> {
  let text: string;
  try {
    text = await run("VBoxManage", "showvminfo", name, "--machinereadable");
  } catch (error) {
    if (error instanceof Error && /VBOX_E_OBJECT_NOT_FOUND|Could not find/.test(error.message))
      return undefined;
    throw error;
  }
  return new Map(
    text.split("\n").map((line) => {
      const [key = "", value = ""] = line.split("=", 2);
      return [key, value.replace(/^"|"$/g, "")];
    }),
  );
}

/** Takes the machine away with its disks, whatever state it is in. */
async function remove(name: string): Promise<void> {
  const found = await info(name);
  if (found === undefined) return;
  if (found.get("VMState") !== "poweroff" && found.get("VMState") !== "aborted") {
    await run("VBoxManage", "controlvm", name, "poweroff").catch(() => undefined);
    await until(name, ["poweroff", "aborted"], 30);
  }
  await run("VBoxManage", "unregistervm", name, "--delete");
}

async function until(name: string, states: readonly string[], seconds: number): Promise<boolean> {
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline;) {
    const state = (await info(name))?.get("VMState") ?? "gone";
    if (states.includes(state)) return true;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  return false;
}

async function make(inputs: VmInputs): Promise<void> {
  const { name, seed, macs } = inputs;
  const [outside = "", inside = ""] = macs;
  const folder = join(process.cwd(), MACHINES);
  await run(
    "VBoxManage",
    "createvm",
    "--name",
    name,
    "--ostype",
    "Debian_64",
    "--basefolder",
    folder,
    "--register",
  );
  const own = join(folder, name);
  mkdirSync(own, { recursive: true });
  writeFileSync(join(own, "seed.iso"), seedIso(seed), { mode: 0o600 });
  const change = (...args: string[]) => run("VBoxManage", "modifyvm", name, ...args);
  await change("--cpus", String(inputs.cpus), "--memory", String(inputs.memoryMb), "--rtcuseutc", "on");
  await change(
    "--audio-enabled",
    "off",
    "--usbohci",
    "off",
    "--uart1",
    "0x3F8",
    "4",
    "--uartmode1",
    "disconnected",
  );
  await change("--nic1", "nat", "--nictype1", "virtio", "--macaddress1", outside);
  await change("--nic2", "hostonly", "--nictype2", "virtio", "--macaddress2", inside);
  await change("--hostonlyadapter2", inputs.hostOnlyAdapter);
  await run("VBoxManage", "storagectl", name, "--name", "SATA", "--add", "sata", "--portcount", "2");
  const disk = join(own, "disk.vdi");
  await run("VBoxManage", "clonemedium", "disk", inputs.baseDisk, disk, "--format", "VDI");
  await run("VBoxManage", "modifymedium", "disk", disk, "--resize", String(inputs.diskGb * 1024));
  const attach = (port: string, type: string, medium: string) =>
    run(
      "VBoxManage",
      "storageattach",
      name,
      "--storagectl",
      "SATA",
      "--port",
      port,
      "--type",
      type,
      "--medium",
      medium,
    );
  await attach("0", "hdd", disk);
  await attach("1", "dvddrive", join(own, "seed.iso"));
  await run("VBoxManage", "startvm", name, "--type", "headless");
}

/** Changes of these are made in place, with the machine off for a moment. */
const IN_PLACE = ["cpus", "memoryMb", "diskGb"];
const KEYS = ["name", "baseDisk", "hostOnlyAdapter", "macs", "seed", ...IN_PLACE] as const;

export const vmProvider: pulumi.dynamic.ResourceProvider<VmInputs, VmInputs> = {
  async create(inputs) {
    const { name } = inputs;
    await requireVirtualBox(inputs.hostOnlyAdapter);
    if ((await info(name)) !== undefined) {
      throw new Error(
        `VirtualBox has a machine ${name} that is not this stack's: remove it (VBoxManage unregistervm ${name} --delete) or rename the stack`,
      );
    }
    try {
      await make(inputs);
    } catch (error) {
      await remove(name);
      throw error;
    }
    return { id: name, outs: inputs };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of a VirtualBoxVm (${id}) is not supported`);
    return { id: (await info(id)) === undefined ? "" : id, props };
  },
  diff(_id, olds, news) {
    const value = (inputs: VmInputs, key: string) => JSON.stringify(inputs[key as keyof VmInputs]);
    const changed = KEYS.filter((key) => value(olds, key) !== value(news, key));
    const replaces = changed.filter((key) => !IN_PLACE.includes(key));
    if (news.diskGb < olds.diskGb) replaces.push("diskGb");
    return Promise.resolve({ changes: changed.length > 0, replaces, deleteBeforeReplace: true });
  },
  async update(id, olds, news) {
    await run("VBoxManage", "controlvm", id, "acpipowerbutton");
    if (!(await until(id, ["poweroff"], 90))) {
      await run("VBoxManage", "controlvm", id, "poweroff");
      await until(id, ["poweroff"], 30);
    }
    await run("VBoxManage", "modifyvm", id, "--cpus", String(news.cpus), "--memory", String(news.memoryMb));
    if (news.diskGb !== olds.diskGb) {
      const disk = join(process.cwd(), MACHINES, id, "disk.vdi");
      await run("VBoxManage", "modifymedium", "disk", disk, "--resize", String(news.diskGb * 1024));
    }
    await run("VBoxManage", "startvm", id, "--type", "headless");
    return { outs: news };
  },
  async delete(id) {
    await remove(id);
  },
};

/** A machine of VirtualBox on this computer, started without a window. */
export class VirtualBoxVm extends pulumi.dynamic.Resource {
  constructor(name: string, args: VirtualBoxVmArgs, opts?: pulumi.CustomResourceOptions) {
    super(vmProvider, name, { ...args }, opts, "switchyard", "VirtualBoxVm");
  }
}
