import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import * as pulumi from "@pulumi/pulumi";
import { DynamicResource } from "../../../providers/dynamic-resource";

import { command, diskTimeoutMs } from "./command";
import { remove, start, stateOf, stop } from "./machine";
import { seedIso } from "./seed-iso";

/** Arguments of {@link VirtualBoxVm}. */
export interface VirtualBoxVmArgs {
  /** Name of the machine in VirtualBox. */
  readonly name: pulumi.Input<string>;
  readonly cpus: pulumi.Input<number>;
  readonly memoryMb: pulumi.Input<number>;
  /** A larger disk grows in place; a smaller one replaces the machine. */
  readonly diskGb: pulumi.Input<number>;
  /** Disk image to copy the machine's disk from. */
  readonly baseDisk: pulumi.Input<string>;
  /** Host-only adapter of this computer, whose network connects the nodes. */
  readonly hostOnlyAdapter: pulumi.Input<string>;
  /** MAC addresses (12 hexadecimal digits) of the adapters to the outside and to the other nodes. */
  readonly macs: pulumi.Input<pulumi.Input<string>[]>;
  /** Files of the NoCloud seed, by name. */
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
  const version = (await command("VBoxManage", ["--version"])).trim().split("\n").at(-1) ?? "";
  if (!(Number.parseInt(version, 10) >= 7)) {
    throw new Error(`VirtualBox ${version} is too old: install 7.0 or later`);
  }
  const adapters = await command("VBoxManage", ["list", "hostonlyifs"]);
  if (!adapters.split("\n").some((line) => /^Name: +(.*)$/.exec(line)?.[1] === adapter)) {
    throw new Error(
      `VirtualBox has no host-only adapter ${adapter}: create it (VBoxManage hostonlyif create), or set machine.hostOnlyAdapter to one that exists`,
    );
  }
}

async function make(inputs: VmInputs): Promise<void> {
  const { name, seed, macs } = inputs;
  const [outside = "", inside = ""] = macs;
  const folder = join(process.cwd(), MACHINES);
  const own = join(folder, name);
  const disk = join(own, "disk.vdi");
  const iso = join(own, "seed.iso");
  const vbox = (...args: string[]) => command("VBoxManage", args);
  const change = (...args: string[]) => vbox("modifyvm", name, ...args);
  const attach = (...args: string[]) => vbox("storageattach", name, "--storagectl", "SATA", ...args);

  await vbox("createvm", "--name", name, "--ostype", "Debian_64", "--basefolder", folder, "--register");
  mkdirSync(own, { recursive: true });
  writeFileSync(iso, seedIso(seed), { mode: 0o600 });
  await change("--cpus", String(inputs.cpus), "--memory", String(inputs.memoryMb), "--rtcuseutc", "on");
  await change("--audio-enabled", "off", "--usbohci", "off");
  await change("--uart1", "0x3F8", "4", "--uartmode1", "disconnected");
  await change("--nic1", "nat", "--nictype1", "virtio", "--macaddress1", outside);
  await change("--nic2", "hostonly", "--nictype2", "virtio", "--macaddress2", inside);
  await change("--hostonlyadapter2", inputs.hostOnlyAdapter);
  await vbox("storagectl", name, "--name", "SATA", "--add", "sata", "--portcount", "2");
  await command(
    "VBoxManage",
    ["clonemedium", "disk", inputs.baseDisk, disk, "--format", "VDI"],
    diskTimeoutMs,
  );
  await resize(disk, inputs.diskGb);
  await attach("--port", "0", "--type", "hdd", "--medium", disk);
  await attach("--port", "1", "--type", "dvddrive", "--medium", iso);
  await start(name);
}

async function resize(disk: string, diskGb: number): Promise<void> {
  const args = ["modifymedium", "disk", disk, "--resize", String(diskGb * 1024)];
  await command("VBoxManage", args, diskTimeoutMs);
}

/** Properties that change in place, while the machine is briefly off. */
const IN_PLACE = ["cpus", "memoryMb", "diskGb"];
const KEYS = ["name", "baseDisk", "hostOnlyAdapter", "macs", "seed", ...IN_PLACE] as const;

export const vmProvider: pulumi.dynamic.ResourceProvider<VmInputs, VmInputs> = {
  async create(inputs) {
    const { name } = inputs;
    await requireVirtualBox(inputs.hostOnlyAdapter);
    if ((await stateOf(name)) !== undefined) {
      throw new Error(
        `VirtualBox already has a machine ${name} that does not belong to this stack: remove it (VBoxManage unregistervm ${name} --delete) or rename the stack`,
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
    return { id: (await stateOf(id)) === undefined ? "" : id, props };
  },
  diff(_id, olds, news) {
    const value = (inputs: VmInputs, key: string) => JSON.stringify(inputs[key as keyof VmInputs]);
    const changed = KEYS.filter((key) => value(olds, key) !== value(news, key));
    const replaces = changed.filter((key) => !IN_PLACE.includes(key));
    if (news.diskGb < olds.diskGb) replaces.push("diskGb");
    return Promise.resolve({ changes: changed.length > 0, replaces, deleteBeforeReplace: true });
  },
  async update(id, olds, news) {
    await stop(id);
    const size = ["--cpus", String(news.cpus), "--memory", String(news.memoryMb)];
    await command("VBoxManage", ["modifyvm", id, ...size]);
    if (news.diskGb !== olds.diskGb) await resize(join(process.cwd(), MACHINES, id, "disk.vdi"), news.diskGb);
    await start(id);
    return { outs: news };
  },
  async delete(id) {
    await remove(id);
  },
};

/** A headless VirtualBox machine on this computer. */
export class VirtualBoxVm extends DynamicResource {
  constructor(name: string, args: VirtualBoxVmArgs, opts?: pulumi.CustomResourceOptions) {
    super({ file: __filename, provider: "vmProvider" }, name, { ...args }, opts, "VirtualBoxVm");
  }
}
