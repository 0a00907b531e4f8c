import { createHash } from "node:crypto";

import * as pulumi from "@pulumi/pulumi";

import type { Config } from "../../config/index";
import { mapping, onlyKeys, text, whole } from "../../config/value";
import { metaData, networkConfig } from "../cloud-init";
import type { Nodes } from "../index";
import { provisionNodes, type Machine, type MachineParts } from "../provisioned";
import { VirtualBoxImage } from "./image";
import { VirtualBoxVm } from "./vm";

/** Debian's own image for machines of any kind; its other one, for clouds, lacks VirtualBox's drivers. */
const image = {
  url: "https://cloud.debian.org/images/cloud/trixie/20260712-2537/debian-13-generic-amd64-20260712-2537.qcow2",
  sha512:
    "78f658893d7aecb56288b86afebb72dcdb1a636e8e9db8bda64851a308697794678ceb5cd3b7c86afd5fb892afbc6baf9d2dbaceb7855347fde8660e8d68e667",
};

interface Settings {
  readonly cpus: number;
  readonly memoryMb: number;
  readonly diskGb: number;
  readonly hostOnlyAdapter: string;
  /** The host-only network's first three numbers. */
  readonly network: string;
}

/** Target `virtualbox`: machines of VirtualBox on this computer, with Debian. */
export function createNodes(config: Config): Nodes {
  const settings = parseSettings(config.machine);
  const { disk } = new VirtualBoxImage("debian", image);
  return provisionNodes(config, {
    platform: "linux/amd64",
    makeMachine: (parts) => makeVm(parts, settings, disk),
  });
}

/**
 * The mapping `machine`, with defaults filled in.
 *
 * @throws ConfigError naming the key
 */
export function parseSettings(value: unknown): Settings {
  const entry = mapping(value, "machine");
  onlyKeys(entry, "machine", ["cpus", "memoryMb", "diskGb", "hostOnlyAdapter", "network"]);
  return {
    cpus: whole(entry["cpus"] ?? 2, "machine.cpus", 1, 64),
    memoryMb: whole(entry["memoryMb"] ?? 2048, "machine.memoryMb", 1024, 1_048_576),
    diskGb: whole(entry["diskGb"] ?? 20, "machine.diskGb", 4, 2048),
    hostOnlyAdapter: text(
      entry["hostOnlyAdapter"] ?? "vboxnet0",
      "machine.hostOnlyAdapter",
      /^[A-Za-z0-9][A-Za-z0-9 #-]{0,63}$/,
      'the name of a host-only adapter, such as "vboxnet0"',
    ),
    network: text(
      entry["network"] ?? "192.168.56.0/24",
      "machine.network",
      /^(?:\d{1,3}\.){3}0\/24$/,
      'the network of that adapter, such as "192.168.56.0/24"',
    ).replace(/\.0\/24$/, ""),
  };
}

/** Twelve digits that are a machine's own and always the same, under VirtualBox's prefix. */
function mac(of: string): string {
  return `080027${createHash("sha256").update(of).digest("hex").slice(0, 6)}`;
}

function makeVm(
  { name, parent, userData }: MachineParts,
  settings: Settings,
  baseDisk: pulumi.Output<string>,
): Machine {
  const { network, hostOnlyAdapter, cpus, memoryMb, diskGb } = settings;
  const machine = `switchyard-${pulumi.getStack()}-${name}`;
  // Beyond what VirtualBox's own DHCP server on the network begins with being asked for.
  const address = `${network}.${10 + Number(/\d+$/.exec(name)?.[0] ?? 0)}`;
  const macs = [mac(`${machine} outside`), mac(`${machine} inside`)] as const;
  const colons = (digits: string): string => digits.match(/../g)?.join(":") ?? "";
  const resource = new VirtualBoxVm(
    name,
    {
      name: machine,
      cpus,
      memoryMb,
      diskGb,
      hostOnlyAdapter,
      baseDisk,
      macs: [...macs],
      seed: {
        "user-data": userData,
        "meta-data": metaData(name),
        "network-config": networkConfig({
          outside: colons(macs[0]),
          inside: { mac: colons(macs[1]), address: `${address}/24` },
        }),
      },
    },
    { parent },
  );
  // Known once the machine is there.
  const known = resource.id.apply(() => address);
  return { resource, address: known, publicAddress: known };
}
