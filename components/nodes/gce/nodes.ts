import * as compute from "@pulumi/gcp/compute";
import * as pulumi from "@pulumi/pulumi";

import { installCloudInit } from "../cloud-init";
import { networkSetting } from "../creation-settings";
import { openPorts, type OpenPorts } from "../open-ports";
import { provisionNodes, type Place, type PlaceParts } from "../provisioned";
import type { Nodes, NodesConfig } from "../target";
import { requireOffered } from "./machine-types";
import { parseSettings, type Settings } from "./settings";

interface Network {
  readonly network: pulumi.Input<string>;
  readonly subnetwork: pulumi.Input<string>;
}

export function createNodes(config: NodesConfig): Nodes {
  const settings = parseSettings(config.machine);
  const ports = openPorts(config);
  // Compute Engine names are shared by the whole project; firewall rules and tags allow few characters.
  const tag = `switchyard-${pulumi
    .getStack()
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")}`;
  const network = settings.network ?? makeNetwork();
  makeFirewalls(network.network, tag, ports);
  const offered = compute.getMachineTypesOutput({ filter: `name = "${settings.type}"` });
  const checked = offered.apply(({ machineTypes, zone }) => {
    requireOffered(
      settings.type,
      zone,
      machineTypes.map(({ name }) => name),
    );
  });
  return provisionNodes(config, {
    platform: `linux/${settings.arch}`,
    apt: settings.apt,
    created: {
      image: settings.image,
      diskGb: String(settings.diskGb),
      diskType: settings.diskType,
      spot: String(settings.spot),
      "start script": installCloudInit(settings.apt),
      network: networkSetting(settings.network),
    },
    protect: settings.protect,
    makePlace: (parts) => makePlace(parts, { settings, checked, network, tag }),
  });
}

function makeNetwork(): Network {
  const network = new compute.Network("switchyard", { autoCreateSubnetworks: false });
  const subnetwork = new compute.Subnetwork(
    "switchyard",
    { network: network.id, ipCidrRange: "10.77.0.0/20" },
    { parent: network },
  );
  return { network: network.id, subnetwork: subnetwork.id };
}

function makeFirewalls(network: pulumi.Input<string>, tag: string, ports: OpenPorts): void {
  const tcp = (numbers: readonly number[]) => [{ protocol: "tcp", ports: numbers.map(String) }];
  const rule = { network, direction: "INGRESS", targetTags: [tag] };
  if (ports.world.length > 0) {
    new compute.Firewall("switchyard-traffic", {
      ...rule,
      sourceRanges: ["0.0.0.0/0"],
      allows: tcp(ports.world),
    });
  }
  // A rule takes either IPv4 or IPv6 addresses, not both.
  const v4 = ports.adminCidrs.filter((cidr) => !cidr.includes(":"));
  const v6 = ports.adminCidrs.filter((cidr) => cidr.includes(":"));
  for (const [suffix, sourceRanges] of [
    ["", v4],
    ["-v6", v6],
  ] as const) {
    if (sourceRanges.length === 0) continue;
    const name = `switchyard-administrators${suffix}`;
    new compute.Firewall(name, { ...rule, sourceRanges: [...sourceRanges], allows: tcp(ports.admin) });
  }
  new compute.Firewall("switchyard-nodes", { ...rule, sourceTags: [tag], allows: [{ protocol: "all" }] });
}

interface InstanceArgs {
  readonly settings: Settings;
  readonly checked: pulumi.Output<unknown>;
  readonly network: Network;
  readonly tag: string;
}

function makePlace({ name, created, parent }: PlaceParts, args: InstanceArgs): Place {
  const { settings, checked, network, tag } = args;
  const { protect } = settings;
  const outside = new compute.Address(name, {}, { parent });
  const makeMachine: Place["makeMachine"] = (options) => {
    const resource = new compute.Instance(
      name,
      {
        machineType: settings.type,
        tags: [tag],
        labels: { "switchyard-stack": tag.replace("switchyard-", "") },
        bootDisk: {
          initializeParams: {
            image: created.setting("image"),
            size: created.setting("diskGb").apply(Number),
            type: created.setting("diskType"),
          },
        },
        networkInterfaces: [
          {
            network: network.network,
            subnetwork: network.subnetwork,
            accessConfigs: [{ natIp: outside.address }],
          },
        ],
        metadata: {
          "user-data": created.userData,
          "enable-oslogin": settings.osLogin ? "TRUE" : "FALSE",
          "block-project-ssh-keys": "TRUE",
          "serial-port-enable": "FALSE",
        },
        metadataStartupScript: created.setting("start script"),
        shieldedInstanceConfig: {
          enableSecureBoot: true,
          enableVtpm: true,
          enableIntegrityMonitoring: true,
        },
        // No serviceAccount: the machine has no rights in the project.
        scheduling: created.when("spot", spotScheduling),
        deletionProtection: protect,
        allowStoppingForUpdate: true,
      },
      // Only one machine at a time can have the public address. cloud-init reads metadata only at the first boot.
      { ...options, protect, deleteBeforeReplace: true, replaceOnChanges: ['metadata["user-data"]'] },
    );
    return { resource, address: resource.networkInterfaces.apply(([face]) => face?.networkIp ?? "") };
  };
  const restarting = { type: settings.type };
  return { publicAddress: outside.address, checked, restarting, makeMachine };
}

const spotScheduling = {
  provisioningModel: "SPOT",
  preemptible: true,
  automaticRestart: false,
  instanceTerminationAction: "STOP",
};
