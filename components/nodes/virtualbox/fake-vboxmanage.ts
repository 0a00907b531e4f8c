/**
 * VBoxManage for the tests. No machine starts without VirtualBox's kernel driver, so this keeps the machines' power states. All else is
 * done by real VBoxManage, or by a registry of machines and media that behaves as VBoxManage 7.2.22 does, whose texts it has.
 */
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { run, RunResult } from "../../../lib/run";

type Medium = { readonly kind: "disk" | "dvd"; readonly location: string; readonly uuid: string };
interface Adapter {
  readonly name: string;
  readonly address: string;
}
interface FakeMachine {
  readonly folder: string;
  readonly settings: Record<string, string>;
  /** UUIDs of media by port. */
  readonly attached: Record<string, string>;
}

/** What Debian's start script prints first without the driver. */
const warning = `WARNING: The character device /dev/vboxdrv does not exist.
\t Please install the virtualbox-dkms package and the appropriate
\t headers, most likely linux-headers-amd64.

\t You will not be able to start VMs until this problem is fixed.
`;
const progress = "0%...10%...20%...30%...40%...50%...60%...70%...80%...90%...100%\n";
const listed = ({ name, address }: Adapter): string => `Name:            ${name}
GUID:            786f6276-656e-4074-8000-0a0027000000
DHCP:            Disabled
IPAddress:       ${address}
NetworkMask:     255.255.255.0
VBoxNetworkName: HostInterfaceNetworking-${name}
`;

/** Ends a command. */
class Ended extends Error {
  constructor(readonly result: RunResult) {
    super(result.stderr);
  }
}

/** Fails with a text, the code that VBoxManage adds unless it is empty, and texts that follow. */
function fail(text: string, code = "VBOX_E_INVALID_OBJECT_STATE (0x80bb0007)", ...later: string[]): never {
  const details = [
    `Details: code ${code}, component MachineWrap, interface IMachine, callee nsISupports`,
    'Context: "Call(Bstr(name).raw(), error: none)" at line 1 of file VBoxManage.cpp',
  ];
  const lines = [text, ...(code === "" ? [] : details), ...later];
  throw new Ended({
    code: 1,
    stdout: warning,
    stderr: lines.map((line) => `VBoxManage: error: ${line}\n`).join(""),
  });
}

const isOn = (state: string): boolean => ["running", "paused"].includes(state);
const isSaved = (state: string): boolean => ["saved", "aborted-saved"].includes(state);

export class FakeVBoxManage {
  readonly calls: string[] = [];
  /** Fails the commands that contain it. */
  failing: string | undefined;
  /** Whether machines fail to start, as they do without the driver. */
  noDriver = false;
  /** The number of calls that find VirtualBox's service starting. A call during another one always does. */
  unready = 0;
  /** Whether VirtualBox itself removes a medium right before it is closed, as it may after its machine is unregistered. */
  closesItself = false;
  version = "7.2.22_Debianr175245";
  installed = true;
  /** Whether the path to the autostart database is set. */
  autostart = false;
  /** The host-only adapter. */
  adapter: Adapter = { name: "vboxnet0", address: "192.168.56.1" };

  private isBusy = false;
  private readonly states = new Map<string, string>();
  private readonly machines = new Map<string, FakeMachine>();
  private media: Medium[] = [];
  /** In MB, by file. */
  private readonly capacities = new Map<string, string>();

  /** @param real runs a command of real VBoxManage. Default: the fake registry */
  constructor(private readonly real?: (args: readonly string[]) => ReturnType<typeof run>) {}

  setState(name: string, state: string): void {
    this.states.set(name, state);
  }

  async run(args: readonly string[]): Promise<RunResult> {
    if (!this.installed) return { code: 127, stdout: "", stderr: "VBoxManage is not installed" };
    const overlaps = this.isBusy;
    this.isBusy = true;
    try {
      this.calls.push(args.join(" "));
      if (overlaps || this.unready-- > 0) {
        const code = "Code NS_ERROR_FAILURE (0x80004005) - Operation failed (extended info not available)";
        const last = "Most likely, the VirtualBox COM server is not running or failed to start.";
        fail("Failed to create the VirtualBox object!", "", code, last);
      }
      if (this.failing !== undefined && args.join(" ").includes(this.failing)) fail("Told to fail");
      const { stdout, stderr = "" } = await this.withPower(args);
      return { code: 0, stdout: `${warning}${stdout}`, stderr };
    } catch (error) {
      if (error instanceof Ended) return error.result;
      throw error;
    } finally {
      if (!overlaps) this.isBusy = false;
    }
  }

  private async withPower(args: readonly string[]): Promise<Pick<RunResult, "stdout"> & Partial<RunResult>> {
    const [verb = "", name = ""] = args;
    const state = this.states.get(name) ?? "poweroff";
    switch (verb) {
      case "startvm":
        await this.registry(["showvminfo", name, "--machinereadable"]);
        if (isOn(state)) {
          fail(`The machine '${name}' is already locked by a session (or being locked or unlocked)`);
        }
        if (this.noDriver && this.real !== undefined) return this.registry(args);
        if (this.noDriver) {
          const text = `The virtual machine '${name}' has terminated unexpectedly during startup with exit code 1 (0x1)`;
          fail(text, "NS_ERROR_FAILURE (0x80004005)");
        }
        this.states.set(name, "running");
        return {
          stdout: `Waiting for VM "${name}" to power on...\nVM "${name}" has been successfully started.\n`,
        };
      case "controlvm":
        if (!isOn(state)) fail(`Machine '${name}' is not currently running.`, "");
        this.states.set(name, "poweroff");
        return { stdout: "" };
      case "discardstate":
        // Without a saved state the real one reports an error, but exits with 0.
        if (isSaved(state)) this.states.set(name, "poweroff");
        return { stdout: "" };
      case "showvminfo": {
        const { stdout } = await this.registry(args);
        return { stdout: stdout.replace(/^VMState="poweroff"$/m, `VMState="${state}"`) };
      }
      case "modifyvm":
        if (isOn(state)) fail(`The machine '${name}' is already locked for a session (or being unlocked)`);
        if (isSaved(state)) {
          fail(
            "The machine is not mutable or running (state is Saved)",
            "VBOX_E_INVALID_VM_STATE (0x80bb0002)",
          );
        }
        return this.registry(args);
      case "unregistervm":
        if (isOn(state)) fail(`Cannot unregister the machine '${name}' while it is locked`);
        if (isSaved(state)) fail(`Cannot unregister the machine '${name}' because it is in the saved state`);
        this.states.delete(name);
        return this.registry(args);
      case "--version":
        return { stdout: `${this.version}\n` };
      case "list":
        return name === "hostonlyifs" ? { stdout: listed(this.adapter) } : this.registry(args);
      default:
        return this.registry(args);
    }
  }

  private async registry(args: readonly string[]): Promise<Pick<RunResult, "stdout"> & Partial<RunResult>> {
    if (this.real === undefined) return { stdout: this.fakeRegistry(args), stderr: progress };
    const result = await this.real(args);
    if (result.code !== 0) throw new Ended(result);
    return result;
  }

  private fakeRegistry(args: readonly string[]): string {
    const [verb, first = "", second = ""] = args;
    const after = (key: string): string => args[args.indexOf(key) + 1] ?? "";
    const machine = (): FakeMachine =>
      this.machines.get(first) ??
      fail(`Could not find a registered machine named '${first}'`, "VBOX_E_OBJECT_NOT_FOUND (0x80bb0001)");
    switch (verb) {
      case "createvm": {
        const name = after("--name");
        const folder = join(after("--basefolder"), name);
        const settings = join(folder, `${name}.vbox`);
        if (existsSync(settings)) {
          fail(`Machine settings file '${settings}' already exists`, "VBOX_E_FILE_ERROR (0x80bb0004)");
        }
        mkdirSync(folder, { recursive: true });
        writeFileSync(settings, "<VirtualBox/>");
        this.machines.set(name, { folder, settings: {}, attached: {} });
        return "";
      }
      case "showvminfo": {
        const { folder, settings } = machine();
        return [
          `CfgFile="${join(folder, `${first}.vbox`)}"`,
          'VMState="poweroff"',
          ...Object.entries(settings).map(([key, value]) => `${key}="${value}"`),
        ].join("\n");
      }
      case "modifyvm":
        for (const [, key = "", value = ""] of args.join(" ").matchAll(/--(\S+) (\S+)/g)) {
          if (key === "autostart-enabled" && value === "on" && !this.autostart) {
            fail("The path to the autostart database is not set", "NS_ERROR_FAILURE (0x80004005)");
          }
          machine().settings[key] = value;
        }
        return "";
      case "storagectl":
        machine();
        return "";
      case "storageattach": {
        const location = after("--medium");
        const later = `Invalid UUID or filename "${location}"`;
        machine().attached[after("--port")] = this.open(
          after("--type") === "hdd" ? "disk" : "dvd",
          location,
          later,
        ).uuid;
        return "";
      }
      case "modifymedium":
        // The UUID is compared when the medium is locked.
        if (this.open("disk", second).isOther) {
          const text = `Failed to create medium lock list when resizing '${second}'`;
          fail(text, "NS_ERROR_FAILURE (0x80004005)", "Failed to resize medium!");
        }
        this.capacities.set(second, after("--resize"));
        return "";
      case "showmediuminfo":
        return `UUID:           ${this.open("disk", second).uuid}\nCapacity:       ${this.capacities.get(second) ?? "0"} MBytes\n`;
      case "closemedium": {
        const medium = this.find(second);
        if (this.closesItself) {
          this.media = this.media.filter((each) => each !== medium);
          fail(`The given path '${second}' is not fully qualified`, "VBOX_E_FILE_ERROR (0x80bb0004)");
        }
        if (medium === undefined) {
          fail(
            `Could not find file for the medium '${second}' (VERR_FILE_NOT_FOUND)`,
            "VBOX_E_FILE_ERROR (0x80bb0004)",
          );
        }
        if (
          [...this.machines.values()].some(({ attached }) => Object.values(attached).includes(medium.uuid))
        ) {
          const text = `Medium '${medium.location}' cannot be closed because it is still attached to 1 virtual machines`;
          fail(text, "VBOX_E_OBJECT_IN_USE (0x80bb000c)");
        }
        this.media = this.media.filter((each) => each !== medium);
        return "";
      }
      case "unregistervm": {
        // --delete leaves images of discs, --delete-all does not. Neither removes a medium that is not attached.
        const { folder, attached } = machine();
        for (const medium of this.media.filter(({ uuid }) => Object.values(attached).includes(uuid))) {
          if (medium.kind === "dvd" && second !== "--delete-all") continue;
          this.media = this.media.filter((each) => each !== medium);
          rmSync(medium.location, { force: true });
        }
        rmSync(join(folder, `${first}.vbox`), { force: true });
        try {
          rmdirSync(folder);
        } catch {
          // Something else is in it.
        }
        this.machines.delete(first);
        return "";
      }
      case "list":
        if (first === "vms")
          return [...this.machines.keys()].map((name) => `"${name}" {${randomUUID()}}\n`).join("");
        return this.media
          .filter(({ kind }) => (kind === "disk" ? "hdds" : "dvds") === first)
          .map(
            ({ uuid, location }) =>
              `UUID:           ${uuid}\nState:          created\nLocation:       ${location}\n`,
          )
          .join("\n");
      default:
        return fail(`Invalid command '${verb ?? ""}'`, "");
    }
  }

  private find(place: string): Medium | undefined {
    return this.media.find(({ uuid, location }) => uuid === place || location === place);
  }

  /** Registers the medium unless it is. Tells whether its file has another UUID than the registry. */
  private open(
    kind: Medium["kind"],
    location: string,
    ...later: string[]
  ): Medium & { readonly isOther: boolean } {
    if (!existsSync(location)) {
      fail(
        `Could not find file for the medium '${location}' (VERR_FILE_NOT_FOUND)`,
        "VBOX_E_FILE_ERROR (0x80bb0004)",
        ...later,
      );
    }
    const [, own] = /^VDI (\S+)/.exec(readFileSync(location, "latin1")) ?? [];
    if (kind === "disk" && own === undefined) {
      const text = `Could not get the storage format of the medium '${location}' (VERR_NOT_SUPPORTED)`;
      fail(text, "VBOX_E_IPRT_ERROR (0x80bb0005)", ...later);
    }
    const known = this.find(location);
    if (known !== undefined) return { ...known, isOther: own !== undefined && own !== known.uuid };
    const medium = { kind, location, uuid: own ?? randomUUID() };
    this.media.push(medium);
    return { ...medium, isOther: false };
  }
}

/** `qemu-img convert` for the fake registry: each disk gets a UUID of its own. */
export function fakeConvert(args: readonly string[]): RunResult {
  writeFileSync(args.at(-1) ?? "", `VDI ${randomUUID()}`);
  return { code: 0, stdout: "", stderr: "" };
}
