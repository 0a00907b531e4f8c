import { createHash } from "node:crypto";

import * as pulumi from "@pulumi/pulumi";

import { metaData, networkConfig } from "../cloud-init";
import { numberOf, provisionNodes, type Place, type PlaceParts } from "../provisioned";
import type { Nodes, NodesConfig } from "../target";
import { VirtualBoxImage } from "./image";
import { machineName } from "./machine";
import { parseSettings, type Settings } from "./settings";
import { requirePossible, VirtualBoxVm } from "./vm";

/** Debian's generic image: the one for clouds lacks the drivers for VirtualBox. */
const image = {
  url: "https://cloud.debian.org/images/cloud/trixie/20260712-2537/debian-13-generic-amd64-20260712-2537.qcow2",
  sha512:
    "78f658893d7aecb56288b86afebb72dcdb1a636e8e9db8bda64851a308697794678ceb5cd3b7c86afd5fb892afbc6baf9d2dbaceb7855347fde8660e8d68e667",
};

export function createNodes(config: NodesConfig): Nodes {
  const settings = parseSettings(config.machine);
  const { disk } = new VirtualBoxImage("debian", image);
  return provisionNodes(config, {
    platform: "linux/amd64",
    apt: settings.apt,
    created: {},
    makePlace: (parts) => placeOf(parts, settings, disk),
  });
}

/** A MAC address with VirtualBox's prefix, derived from the text. */
function mac(of: string): string {
  return `080027${createHash("sha256").update(of).digest("hex").slice(0, 6)}`;
}

function placeOf({ name, created }: PlaceParts, settings: Settings, baseDisk: pulumi.Output<string>): Place {
  const { network, cpus, memoryMb, diskGb, autostart, hostOnlyAdapter } = settings;
  const restarting = { cpus, memoryMb, diskGb, autostart, hostOnlyAdapter };
  const machine = machineName(pulumi.getStack(), name);
  // Above the addresses that VirtualBox's DHCP server on that network assigns first.
  const address = `${network}.${10 + numberOf(name)}`;
  const macs = [mac(`${machine} outside`), mac(`${machine} inside`)] as const;
  const colons = (digits: string): string => digits.match(/../g)?.join(":") ?? "";
  const makeMachine: Place["makeMachine"] = (options) => {
    const resource = new VirtualBoxVm(
      name,
      {
        name: machine,
        ...restarting,
        address,
        baseDisk,
        macs: [...macs],
        seed: {
          "user-data": created.userData,
          "meta-data": metaData(name),
          "network-config": networkConfig({
            outside: colons(macs[0]),
            inside: { mac: colons(macs[1]), address: `${address}/24` },
          }),
        },
      },
      options,
    );
    return { resource, address };
  };
  const checked = pulumi.unsecret(
    created.userData.apply((userData) =>
      requirePossible({ name: machine, diskGb, hostOnlyAdapter, address }, userData),
    ),
  );
  return { publicAddress: address, checked, restarting, makeMachine };
}
