/** The state of a VirtualBox machine, and how to start, stop and remove it. */
import { rmSync } from "node:fs";
import { dirname, sep } from "node:path";

import { messageOf } from "../../../lib/errors";
import { vboxManage } from "./command";

/** States of a machine that is off, which is when its settings can be changed. */
const off: readonly string[] = ["poweroff", "aborted"];
/** States of a machine that is off with its memory saved to disk. */
const saved: readonly string[] = ["saved", "aborted-saved"];

/** How long a guest may take to shut down before it is powered off. */
const shutdownTimeoutMs = 90_000;
/** How long VirtualBox may take to power a machine off. */
const powerOffTimeoutMs = 30_000;
/** Time between two looks at the machine's state. */
const pauseMs = 250;

/** What VirtualBox tells about a machine, by its keys; undefined if there is no machine with that name. */
async function infoOf(name: string): Promise<ReadonlyMap<string, string> | undefined> {
  try {
    const text = await vboxManage("showvminfo", name, "--machinereadable");
    const lines = text.matchAll(/^"?([^"=\n]+)"?="?(.*?)"?$/gm);
    return new Map([...lines].map(([, key = "", value = ""]) => [key, value]));
  } catch (error) {
    if (error instanceof Error && /Could not find/.test(error.message)) return undefined;
    throw error;
  }
}

/** The machine's state, such as `running` or `poweroff`; undefined if there is no machine with that name. */
export const stateOf = async (name: string): Promise<string | undefined> =>
  (await infoOf(name))?.get("VMState");

/** The folder with the machine's settings; undefined if there is no machine with that name. */
export async function settingsFolderOf(name: string): Promise<string | undefined> {
  const file = (await infoOf(name))?.get("CfgFile");
  return file === undefined ? undefined : dirname(file);
}

async function machineNames(): Promise<string[]> {
  const list = await vboxManage("list", "vms");
  return [...list.matchAll(/^"(.*)" \{/gm)].map(([, name = ""]) => name);
}

/** Whether the machine has to be started, to go on where it stopped if its memory was saved. */
export const isOff = (state: string): boolean => off.includes(state) || saved.includes(state);

/** The name of a node's machine. */
export const machineName = (stack: string, node: string): string => `switchyard-${stack}-${node}`;

/** The stack's machines that are off: one phrase each, with the cure. */
export async function machinesOff(stack: string): Promise<string[]> {
  // Without VirtualBox there are no machines.
  const names = await machineNames().catch(() => []);
  const prefix = machineName(stack, "node-");
  const own = names.filter((name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)));
  const states = await Promise.all(
    own.map(async (name) => [name, (await stateOf(name)) ?? "running"] as const),
  );
  return states
    .filter(([, state]) => isOff(state))
    .map(([name, state]) => `machine ${name}, which is off (${state}): script/up starts it`);
}

/**
 * A machine of another stack that has the address of this one: nodes of the same number on the same host-only adapter do.
 * Undefined if there is none.
 */
export async function rivalOf(name: string, hostOnlyAdapter: string): Promise<string | undefined> {
  const [node = name] = /-node-\d+$/.exec(name) ?? [];
  for (const other of await machineNames()) {
    if (other === name || !other.startsWith("switchyard-") || !other.endsWith(node)) continue;
    const info = [...((await infoOf(other)) ?? [])];
    if (info.some(([key, value]) => /^hostonlyadapter\d+$/.test(key) && value === hostOnlyAdapter))
      return other;
  }
  return undefined;
}

/** Starts the machine unless it is on. */
export async function start(name: string): Promise<void> {
  if (!isOff((await stateOf(name)) ?? "poweroff")) return;
  await vboxManage("startvm", name, "--type", "headless");
}

/** Shuts the machine down from any state, so that its settings can be changed. */
export async function stop(name: string): Promise<void> {
  const state = (await stateOf(name)) ?? "";
  if (off.includes(state)) return;
  // Resume it first: discarding the saved memory would lose what the guest has not yet written to disk.
  if (saved.includes(state)) await start(name);
  const refusal = await controls(name, "acpipowerbutton");
  if (refusal === undefined && (await isOffWithin(name, shutdownTimeoutMs))) return;
  await cutPower(name);
}

/** Removes the machine, from any state, and all that is in its folder. It need not exist. */
export async function remove(name: string, folder: string): Promise<void> {
  const state = await stateOf(name);
  if (state !== undefined) {
    if (saved.includes(state)) await vboxManage("discardstate", name);
    else if (!off.includes(state)) await cutPower(name);
    // VirtualBox would not take the machine off its list for the start of the computer.
    await vboxManage("modifyvm", name, "--autostart-enabled", "off", "--autostop-type", "disabled");
    // Not --delete-all, which would remove an image of a disc that the user has put in.
    await vboxManage("unregistervm", name, "--delete");
  }
  await removeFiles(folder);
}

/**
 * Removes a file or a folder, and its disks from VirtualBox's registry. The registry remembers the UUID of a disk that is only
 * removed from the file system, and rejects the next disk with that file name.
 */
export async function removeFiles(path: string): Promise<void> {
  for (const [kind, list] of [
    ["disk", "hdds"],
    ["dvd", "dvds"],
  ] as const) {
    for (const uuid of await mediaIn(path, list)) {
      try {
        await vboxManage("closemedium", kind, uuid);
      } catch (error) {
        // VirtualBox itself removes a medium some time after its machine.
        if ((await mediaIn(path, list)).includes(uuid)) throw error;
      }
    }
  }
  rmSync(path, { recursive: true, force: true });
}

/** The UUIDs of the registered media at or below the path. */
async function mediaIn(path: string, list: "hdds" | "dvds"): Promise<string[]> {
  const media = await vboxManage("list", list);
  return media.split(/\n(?=UUID: )/).flatMap((medium) => {
    const [, uuid] = /^UUID: +(\S+)$/m.exec(medium) ?? [];
    const [, location = ""] = /^Location: +(.*)$/m.exec(medium) ?? [];
    const isInside = location === path || location.startsWith(path + sep);
    return uuid !== undefined && isInside ? [uuid] : [];
  });
}

async function cutPower(name: string): Promise<void> {
  const refusal = await controls(name, "poweroff");
  if (await isOffWithin(name, powerOffTimeoutMs)) return;
  const answer = refusal === undefined ? "" : ` (${refusal})`;
  throw new Error(
    `The machine ${name} did not stop within ${powerOffTimeoutMs / 1000} s${answer}: stop it (VBoxManage controlvm ${name} poweroff) and run again`,
  );
}

/** VirtualBox's error if it rejects the command, as it does for a machine that has stopped in the meantime or is paused. */
const controls = (name: string, verb: "acpipowerbutton" | "poweroff"): Promise<string | undefined> =>
  vboxManage("controlvm", name, verb).then(() => undefined, messageOf);

async function isOffWithin(name: string, timeoutMs: number): Promise<boolean> {
  for (const deadlineMs = Date.now() + timeoutMs; Date.now() < deadlineMs;) {
    if (off.includes((await stateOf(name)) ?? "poweroff")) return true;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return false;
}
