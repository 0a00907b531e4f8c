import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { basename, join } from "node:path";

import { vi } from "vitest";

import { docker, removeContainers } from "../e2e/docker";
import { outputOf } from "../e2e/stack";
import { afterwards } from "../e2e/tear-down";
import { container, hasKvm, inContainer } from "./container";

// Machines that QEMU runs in the container, with disks built from Docker images. Without KVM, QEMU emulates the processor, and a boot
// takes minutes.

/** What a Dockerfile adds to a Debian system to make it boot on a machine of its own. */
export const kernel = `
RUN apt-get update \\
 && apt-get install -y --no-install-recommends linux-image-amd64 initramfs-tools netplan.io systemd-resolved \\
 && rm -rf /var/lib/apt/lists/*
`;

/** Files of a system. Its disk has no boot loader: QEMU starts the kernel itself. */
export interface System {
  readonly disk: string;
  readonly kernel: string;
  readonly initrd: string;
  /** Where a machine writes what its console shows, from each start anew. */
  readonly console: string;
}

/** Builds a system from a Dockerfile, in a folder that the container shares. */
export async function makeSystem(folder: string, dockerfile: string): Promise<System> {
  const context = join(folder, "context");
  mkdirSync(context, { recursive: true });
  writeFileSync(join(context, "Dockerfile"), dockerfile);
  const image = "switchyard-e2e/guest";
  await docker("build", "-q", "-t", image, context);
  const source = await docker("create", image);
  afterwards(() => removeContainers(source));
  const file = (name: string): string => join(folder, name);
  const system = {
    disk: file("disk.raw"),
    kernel: file("vmlinuz"),
    initrd: file("initrd.img"),
    console: file("console"),
  };
  for (const path of [system.kernel, system.initrd])
    await docker("cp", "-L", `${source}:/${basename(path)}`, path);
  const make = `docker exec -i ${container} mke2fs -q -t ext4 -d - ${system.disk} 4G`;
  await outputOf("sh", "-ec", `docker export ${source} | ${make}`);
  // What Docker puts into every container.
  for (const change of [
    "rm /.dockerenv",
    "rm /etc/resolv.conf",
    "symlink /etc/resolv.conf ../run/systemd/resolve/stub-resolv.conf",
  ])
    await inContainer("debugfs", "-w", "-R", change, system.disk);
  return system;
}

/** A machine that is on. */
export class Guest {
  private readonly ended: Promise<unknown>;

  private constructor(private readonly monitor: Socket) {
    // QEMU closes it when it ends.
    this.ended = once(monitor.resume(), "close");
  }

  /** Starts a machine with its processors, memory, disks and networks from QEMU's options; the system's disk is `/dev/sda`. */
  static async start(system: System, options: readonly string[]): Promise<Guest> {
    const socket = `${system.console}.monitor`;
    await docker(
      ...["exec", "-d", container, "qemu-system-x86_64", "-accel", hasKvm ? "kvm" : "tcg", "-cpu", "max"],
      ...["-machine", "q35", "-display", "none", "-serial", `file:${system.console}`],
      ...["-monitor", `unix:${socket},server=on,wait=off`],
      ...["-kernel", system.kernel, "-initrd", system.initrd, "-append", "root=/dev/sda rw console=ttyS0"],
      ...options,
    );
    return vi.waitFor(
      async () => {
        const monitor = connect(socket);
        await once(monitor, "connect");
        return new Guest(monitor);
      },
      { timeout: 10_000, interval: 200 },
    );
  }

  /** Presses the power button, and waits until the machine is off. */
  async shutDown(): Promise<void> {
    this.monitor.write("system_powerdown\n");
    await this.ended;
  }

  /** Cuts the power. */
  async kill(): Promise<void> {
    this.monitor.write("quit\n");
    await this.ended;
  }
}

/** Options of QEMU for a disk or a disc on a SATA port. */
export const drive = (port: number, kind: "hd" | "cd", format: string, file: string): string[] => [
  ...(port === 0 ? ["-device", "ahci,id=sata"] : []),
  ...[
    "-drive",
    `id=drive${port},if=none,format=${format},readonly=${kind === "cd" ? "on" : "off"},file=${file}`,
  ],
  ...["-device", `ide-${kind},drive=drive${port},bus=sata.${port}`],
];
