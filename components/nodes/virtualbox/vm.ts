import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import * as pulumi from "@pulumi/pulumi";
import { messageOf, UserError } from "../../../lib/errors";
import { DynamicResource } from "../../../providers/dynamic-resource";

import { convertDisk, vboxManage } from "./command";
import { isOff, remove, removeFiles, rivalOf, settingsFolderOf, start, stateOf, stop } from "./machine";
import { seedIso } from "./seed-iso";

/** Arguments of {@link VirtualBoxVm}. */
export interface VirtualBoxVmArgs {
  /** Name of the machine in VirtualBox. */
  readonly name: pulumi.Input<string>;
  readonly cpus: pulumi.Input<number>;
  readonly memoryMb: pulumi.Input<number>;
  /** A larger disk grows in place; a smaller one is rejected. */
  readonly diskGb: pulumi.Input<number>;
  /** Disk image to copy the machine's disk from. */
  readonly baseDisk: pulumi.Input<string>;
  /** Host-only adapter of this computer, whose network connects the nodes. */
  readonly hostOnlyAdapter: pulumi.Input<string>;
  /** Address of the machine in that network, which is a /24. */
  readonly address: pulumi.Input<string>;
  /** Whether VirtualBox's autostart service starts the machine with this computer. */
  readonly autostart: pulumi.Input<boolean>;
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
  /** Undefined in the state of an earlier version. */
  readonly address?: string;
  readonly autostart?: boolean;
  readonly macs: readonly string[];
  readonly seed: Readonly<Record<string, string>>;
}

/** What may be impossible. */
type Wanted = Pick<VmInputs, "name" | "diskGb" | "hostOnlyAdapter" | "address">;

interface VmState extends VmInputs {
  /** Whether it was on when it was last seen. Undefined in the state of an earlier version. */
  readonly running?: boolean;
}

/** The folder that holds the folders of all machines of this project. */
const machinesFolder = () => join(process.cwd(), ".switchyard", "virtualbox");
/** The folder of a machine's disk, seed and settings. */
const folderOf = (name: string) => join(machinesFolder(), name);
const diskOf = (name: string) => join(folderOf(name), "disk.vdi");
const isoOf = (name: string) => join(folderOf(name), "seed.iso");

async function requireVirtualBox(inputs: VmInputs): Promise<void> {
  const version = (await vboxManage("--version")).trim().split("\n").at(-1) ?? "";
  if (!(Number.parseInt(version, 10) >= 7)) {
    throw new Error(`VirtualBox ${version} is too old: install 7.0 or later`);
  }
  const problem = await adapterProblem(inputs);
  if (problem !== undefined) throw new Error(problem);
}

/** Why the host-only adapter cannot connect the machine. */
async function adapterProblem({ hostOnlyAdapter, address }: Wanted): Promise<string | undefined> {
  const list = await vboxManage("list", "hostonlyifs");
  const adapter = list.split(/\n(?=Name: )/).find((text) => valueIn(text, "Name") === hostOnlyAdapter);
  if (adapter === undefined) {
    return `VirtualBox has no host-only adapter ${hostOnlyAdapter}: create it (VBoxManage hostonlyif create), or set machine.hostOnlyAdapter to one that exists`;
  }
  const own = valueIn(adapter, "IPAddress") ?? "";
  if (address === undefined || (networkOf(own) === networkOf(address) && own !== address)) return undefined;
  const ipconfig = `VBoxManage hostonlyif ipconfig ${hostOnlyAdapter} --ip ${networkOf(address)}.1`;
  if (own === "" || own === "0.0.0.0")
    return `The host-only adapter ${hostOnlyAdapter} has no address: give it one (${ipconfig})`;
  return own === address
    ? `The host-only adapter ${hostOnlyAdapter} has the address of this node, ${own}: give it another (${ipconfig})`
    : `machine.network is ${networkOf(address)}.0/24, but the host-only adapter ${hostOnlyAdapter} has the address ${own}: set machine.network to ${networkOf(own)}.0/24, or change the adapter (${ipconfig})`;
}

/** Not for previews: those of a renamed stack cannot tell its own machines, which are replaced, from others. */
async function requireAddress({ name, hostOnlyAdapter, address }: VmInputs): Promise<void> {
  const rival = await rivalOf(name, hostOnlyAdapter);
  if (rival === undefined) return;
  throw new Error(
    `Machine ${rival} of another stack has the address of this node, ${address ?? ""}, on the host-only adapter ${hostOnlyAdapter}: set switchyard:machine.network and switchyard:machine.hostOnlyAdapter to a network and an adapter that no other stack has, or remove that stack (script/down)`,
  );
}

const valueIn = (text: string, key: string): string | undefined =>
  new RegExp(`^${key}: +(.*)$`, "m").exec(text)?.[1];
/** The first three octets. */
const networkOf = (address: string): string => address.split(".").slice(0, 3).join(".");

async function make(inputs: VmInputs): Promise<void> {
  const { name, seed, macs } = inputs;
  const [outside = "", inside = ""] = macs;
  const folder = machinesFolder();
  const disk = diskOf(name);
  const iso = isoOf(name);
  const attach = (...args: string[]) => vboxManage("storageattach", name, "--storagectl", "SATA", ...args);

  await vboxManage("createvm", "--name", name, "--ostype", "Debian_64", "--basefolder", folder, "--register");
  mkdirSync(folderOf(name), { recursive: true });
  writeFileSync(iso, seedIso(seed), { mode: 0o600 });
  await modify(
    ...[name, "--rtcuseutc", "on", "--audio-enabled", "off", "--usbohci", "off"],
    ...adjustable(inputs),
    ...["--uart1", "0x3F8", "4", "--uartmode1", "disconnected"],
    ...["--nic1", "nat", "--nictype1", "virtio", "--macaddress1", outside],
    ...["--nic2", "hostonly", "--nictype2", "virtio", "--macaddress2", inside],
  );
  await vboxManage("storagectl", name, "--name", "SATA", "--add", "sata", "--portcount", "2");
  // Not with `clonemedium`, which would register the base disk: VirtualBox then rejects an image that was made again, as that has
  // another UUID.
  await convertDisk(inputs.baseDisk, disk);
  await resize(disk, inputs.diskGb);
  await attach("--port", "0", "--type", "hdd", "--medium", disk);
  await attach("--port", "1", "--type", "dvddrive", "--medium", iso);
  await start(name);
}

async function resize(disk: string, diskGb: number): Promise<void> {
  await vboxManage("modifymedium", "disk", disk, "--resize", String(diskGb * 1024));
}

async function modify(...args: readonly string[]): Promise<void> {
  try {
    await vboxManage("modifyvm", ...args);
  } catch (error) {
    if (!/autostart database/.test(messageOf(error))) throw error;
    const cure = "set it (VBoxManage setproperty autostartdbpath FOLDER), or set machine.autostart to false";
    throw new Error(`${messageOf(error)}: ${cure}`, { cause: error });
  }
}

/** Options of `modifyvm` for the properties that change in place, but for the disk. */
const adjustable = ({ cpus, memoryMb, autostart = false, hostOnlyAdapter }: VmInputs): string[] => [
  ...["--cpus", String(cpus), "--memory", String(memoryMb)],
  ...["--autostart-enabled", autostart ? "on" : "off"],
  ...["--autostop-type", autostart ? "acpishutdown" : "disabled"],
  ...["--hostonlyadapter2", hostOnlyAdapter],
];

/** Properties that change in place, while the machine is briefly off. */
const IN_PLACE = ["cpus", "memoryMb", "diskGb", "autostart", "hostOnlyAdapter"];
/** Another base disk is only for machines that are created later. */
const KEYS = ["name", "macs", ...IN_PLACE];

/** Of the seed, only the user data counts: the rest follows from the name, the addresses and the release of Switchyard. */
function changedKeys(olds: VmInputs, news: VmInputs): string[] {
  const value = (inputs: VmInputs, key: string) => JSON.stringify(inputs[key as keyof VmInputs] ?? false);
  const isRenewed = olds.seed["user-data"] !== news.seed["user-data"];
  return [...KEYS.filter((key) => value(olds, key) !== value(news, key)), ...(isRenewed ? ["seed"] : [])];
}

/** Why the machine cannot become what is asked. One that is replaced anyway, with other user data, can have a smaller disk. */
function impossible(olds: Partial<VmInputs>, news: Wanted & Pick<VmInputs, "seed">): string | undefined {
  const { diskGb = 0, seed, address = news.address } = olds;
  if (address !== news.address)
    return `machine.network would move ${news.name} from ${address ?? ""} to ${news.address ?? ""}, but machines keep their addresses: leave it, or run script/down first`;
  if (news.diskGb >= diskGb || seed?.["user-data"] !== news.seed["user-data"]) return undefined;
  return `machine.diskGb is ${news.diskGb}, but the disk of ${news.name} has ${diskGb} GB, and a disk cannot shrink: set it to ${diskGb} or more`;
}

/**
 * The same before any node is drained for the change, from the machine itself.
 *
 * @param userData that of the machine that is wanted. If it differs, the machine is replaced.
 * @throws UserError if the machine cannot be as wanted
 */
export async function requirePossible(wanted: Wanted, userData: string): Promise<void> {
  const { name } = wanted;
  const iso = isoOf(name);
  const seed = { "user-data": userData };
  const olds =
    existsSync(iso) && readFileSync(iso).includes(userData) ? { diskGb: await diskGbOf(name), seed } : {};
  const reason =
    impossible(olds, { ...wanted, seed }) ?? (await adapterProblem(wanted).catch(() => undefined));
  if (reason !== undefined) throw new UserError(reason);
}

/** The size of the machine's disk; 0 if VirtualBox does not tell. */
async function diskGbOf(name: string): Promise<number> {
  const text = await vboxManage("showmediuminfo", "disk", diskOf(name)).catch(() => "");
  return Number.parseInt(valueIn(text, "Capacity") ?? "0", 10) / 1024;
}

export const vmProvider: pulumi.dynamic.ResourceProvider<VmInputs, VmState> = {
  /** Previews call this too, perhaps where there is no VirtualBox: creating a machine then says so. */
  async check(olds, news) {
    const reason = impossible(olds, news) ?? (await adapterProblem(news).catch(() => undefined));
    return { inputs: news, failures: reason === undefined ? [] : [{ property: "", reason }] };
  },
  async create(inputs) {
    const { name } = inputs;
    await requireVirtualBox(inputs);
    const existing = await settingsFolderOf(name);
    if (existing !== undefined && existing !== folderOf(name)) {
      throw new Error(
        `VirtualBox already has a machine ${name}, of a stack of the same name in another project, whose files are in ${existing}: rename this stack, or remove that one (script/down there)`,
      );
    }
    if (existing !== undefined) {
      throw new Error(
        `VirtualBox already has a machine ${name}, which this state does not know, perhaps because its creation was killed: remove it with its disk (VBoxManage unregistervm ${name} --delete), or rename the stack`,
      );
    }
    await requireAddress(inputs);
    // What a creation left that was killed.
    await removeFiles(folderOf(name));
    try {
      await make(inputs);
    } catch (error) {
      await remove(name, folderOf(name)).catch((failure: unknown) => {
        throw new Error(`${messageOf(error)}; and the machine cannot be removed: ${messageOf(failure)}`);
      });
      throw error;
    }
    return { id: name, outs: { ...inputs, running: true } };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of a VirtualBoxVm (${id}) is not supported`);
    const state = await stateOf(id);
    if (state === undefined) return { id: "", props };
    return { id, props: { ...props, running: !isOff(state) } };
  },
  diff(_id, olds, news) {
    const changed = changedKeys(olds, news);
    const replaces = changed.filter((key) => !IN_PLACE.includes(key));
    const changes = changed.length > 0 || olds.running === false;
    return Promise.resolve({ changes, replaces, deleteBeforeReplace: true });
  },
  async update(id, olds, news) {
    if (olds.hostOnlyAdapter !== news.hostOnlyAdapter) await requireAddress(news);
    if (changedKeys(olds, news).length > 0) {
      await stop(id);
      await modify(id, ...adjustable(news));
      if (news.diskGb !== olds.diskGb) await resize(diskOf(id), news.diskGb);
    }
    await start(id);
    return { outs: { ...news, running: true } };
  },
  async delete(id) {
    await remove(id, folderOf(id));
  },
};

/** A headless VirtualBox machine on this computer. */
export class VirtualBoxVm extends DynamicResource {
  constructor(name: string, args: VirtualBoxVmArgs, opts?: pulumi.CustomResourceOptions) {
    super({ file: __filename, provider: "vmProvider" }, name, { ...args }, opts, "VirtualBoxVm");
  }
}
