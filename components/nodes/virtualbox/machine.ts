/** The state of a VirtualBox machine, and how to start, stop and remove it. */
import { command } from "./command";

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

/** The machine's state, such as `running` or `poweroff`; undefined if there is no machine with that name. */
export async function stateOf(name: string): Promise<string | undefined> {
  try {
    const text = await command("VBoxManage", ["showvminfo", name, "--machinereadable"]);
    return /^VMState="(.*)"/m.exec(text)?.[1];
  } catch (error) {
    if (error instanceof Error && /Could not find/.test(error.message)) return undefined;
    throw error;
  }
}

export async function start(name: string): Promise<void> {
  await command("VBoxManage", ["startvm", name, "--type", "headless"]);
}

/** Shuts the machine down from any state, so that its settings can be changed. */
export async function stop(name: string): Promise<void> {
  const state = (await stateOf(name)) ?? "";
  if (off.includes(state)) return;
  // Resume it first: discarding the saved memory would lose what the guest has not yet written to disk.
  if (saved.includes(state)) await start(name);
  const asked = await controls(name, "acpipowerbutton");
  if (asked && (await isOffWithin(name, shutdownTimeoutMs))) return;
  await cutPower(name);
}

/** Removes the machine and its disks from any state; does nothing if there is no such machine. */
export async function remove(name: string): Promise<void> {
  const state = await stateOf(name);
  if (state === undefined) return;
  if (saved.includes(state)) await command("VBoxManage", ["discardstate", name]);
  else if (!off.includes(state)) await cutPower(name);
  await command("VBoxManage", ["unregistervm", name, "--delete"]);
}

async function cutPower(name: string): Promise<void> {
  await controls(name, "poweroff");
  if (await isOffWithin(name, powerOffTimeoutMs)) return;
  throw new Error(
    `The machine ${name} did not stop within ${powerOffTimeoutMs / 1000} s: stop it (VBoxManage controlvm ${name} poweroff) and run again`,
  );
}

/** Whether VirtualBox accepted the command. It accepts none for a machine that has stopped in the meantime or is paused. */
const controls = (name: string, verb: "acpipowerbutton" | "poweroff"): Promise<boolean> =>
  command("VBoxManage", ["controlvm", name, verb]).then(
    () => true,
    () => false,
  );

async function isOffWithin(name: string, timeoutMs: number): Promise<boolean> {
  for (const deadlineMs = Date.now() + timeoutMs; Date.now() < deadlineMs;) {
    if (off.includes((await stateOf(name)) ?? "poweroff")) return true;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return false;
}
