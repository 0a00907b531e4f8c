/** A machine as VirtualBox has it: its state, how to stop it and how to remove it. */
import { command } from "./command";

/** States of a machine that does not run; anything but its settings can only be changed while it does. */
const off: readonly string[] = ["poweroff", "aborted"];
/** States of a machine that does not run and has kept its memory on disk. */
const saved: readonly string[] = ["saved", "aborted-saved"];

/** How long a guest may take to shut down before its power is cut. */
const shutdownTimeoutMs = 90_000;
/** How long VirtualBox may take to cut the power. */
const powerOffTimeoutMs = 30_000;

/** The machine's state, such as `running` or `poweroff`; undefined if there is no machine of the name. */
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

/** Shuts the machine down, whatever state it is in, so that its settings can be changed. */
export async function stop(name: string): Promise<void> {
  const state = (await stateOf(name)) ?? "";
  if (off.includes(state)) return;
  // Resumed first: discarding the saved memory would lose what the guest has not written to its disk yet.
  if (saved.includes(state)) await start(name);
  const asked = await controls(name, "acpipowerbutton");
  if (asked && (await isOffWithin(name, shutdownTimeoutMs))) return;
  await cutPower(name);
}

/** Removes the machine with its disks, whatever state it is in; does nothing if there is none. */
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

/** Whether VirtualBox took the command. It takes none for a machine that has stopped meanwhile, or that is paused. */
const controls = (name: string, verb: "acpipowerbutton" | "poweroff"): Promise<boolean> =>
  command("VBoxManage", ["controlvm", name, verb]).then(
    () => true,
    () => false,
  );

async function isOffWithin(name: string, timeoutMs: number): Promise<boolean> {
  for (const deadline = Date.now() + timeoutMs; Date.now() < deadline;) {
    if (off.includes((await stateOf(name)) ?? "poweroff")) return true;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  return false;
}
