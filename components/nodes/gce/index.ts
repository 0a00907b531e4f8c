import * as compute from "@pulumi/gcp/compute";
import * as pulumi from "@pulumi/pulumi";

import type { Config } from "../../config/index";
import { ConfigError, flag, mapping, onlyKeys, text, whole } from "../../config/value";
import { installCloudInit } from "../cloud-init";
import type { Nodes } from "../index";
import { provisionNodes, type Machine, type MachineParts } from "../provisioned";
import { openPorts, type OpenPorts } from "../ports";

interface Settings {
  readonly type: string;
  readonly arch: "amd64" | "arm64";
  readonly image: string;
  readonly diskGb: number;
  readonly spot: boolean;
  readonly protect: boolean;
  readonly osLogin: boolean;
  /** A network of the user's own. */
  readonly network?: Network;
}

interface Network {
  readonly network: pulumi.Input<string>;
  readonly subnetwork: pulumi.Input<string>;
}

/** Target `gce`: Compute Engine instances with Debian in a network of their own, or in one that is there. */
export function createNodes(config: Config): Nodes {
  const settings = parseSettings(config.machine);
  const ports = openPorts(config);
  // Names on Compute Engine are the project's, and those of firewall rules and tags have a form of their own.
  const tag = `switchyard-${pulumi
    .getStack()
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")}`;
  const network = settings.network ?? makeNetwork();
  makeFirewalls(network.network, tag, ports);
  return provisionNodes(config, {
    platform: `linux/${settings.arch}`,
    makeMachine: (parts) => makeInstance(parts, { settings, network, tag }),
  });
}

/**
 * The mapping `machine`, with defaults filled in.
 *
 * @throws ConfigError naming the key
 */
export function parseSettings(value: unknown): Settings {
  const entry = mapping(value, "machine");
  const known = ["type", "image", "diskGb", "spot", "protect", "osLogin", "network", "subnetwork"];
  onlyKeys(entry, "machine", known);
  const type = text(
    entry["type"] ?? "e2-small",
    "machine.type",
    /^[a-z][a-z0-9]*(?:-[a-z0-9]+)+$/,
    'a machine type such as "e2-small"',
  );
  const arch = /^(?:t2a|c4a|n4a)-/.test(type) ? "arm64" : "amd64";
  const path = (name: string): string | undefined =>
    entry[name] === undefined
      ? undefined
      : text(entry[name], `machine.${name}`, /^[a-z0-9][A-Za-z0-9._/:-]*$/, "a name, or projects/…/name");
  const network = path("network");
  const subnetwork = path("subnetwork");
  if ((network === undefined) !== (subnetwork === undefined)) {
    throw new ConfigError(
      `machine.${network === undefined ? "network" : "subnetwork"}`,
      "is missing",
      "give both network and subnetwork, or neither for a network of the stack's own",
    );
  }
  return {
    type,
    arch,
    image: path("image") ?? `debian-cloud/debian-13${arch === "arm64" ? "-arm64" : ""}`,
    diskGb: whole(entry["diskGb"] ?? 20, "machine.diskGb", 10, 65_536),
    spot: flag(entry["spot"] ?? false, "machine.spot"),
    protect: flag(entry["protect"] ?? false, "machine.protect"),
    osLogin: flag(entry["osLogin"] ?? false, "machine.osLogin"),
    ...(network !== undefined && subnetwork !== undefined && { network: { network, subnetwork } }),
  };
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
  // One rule has one kind of addresses.
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
  readonly network: Network;
  readonly tag: string;
}

function makeInstance({ name, parent, userData }: MachineParts, args: InstanceArgs): Machine {
  const { settings, network, tag } = args;
  const { spot, protect } = settings;
  const outside = new compute.Address(name, {}, { parent });
  const resource = new compute.Instance(
    name,
    {
      machineType: settings.type,
      tags: [tag],
      labels: { "switchyard-stack": tag.replace("switchyard-", "") },
      bootDisk: {
        initializeParams: { image: settings.image, size: settings.diskGb, type: "pd-balanced" },
      },
      networkInterfaces: [
        {
          network: network.network,
          subnetwork: network.subnetwork,
          accessConfigs: [{ natIp: outside.address }],
        },
      ],
      metadata: {
        "user-data": userData,
        "enable-oslogin": settings.osLogin ? "TRUE" : "FALSE",
        "block-project-ssh-keys": "TRUE",
        "serial-port-enable": "FALSE",
      },
      metadataStartupScript: installCloudInit,
      shieldedInstanceConfig: {
        enableSecureBoot: true,
        enableVtpm: true,
        enableIntegrityMonitoring: true,
      },
      // No serviceAccount: the machine has no say in the project.
      ...(spot && {
        scheduling: {
          provisioningModel: "SPOT",
          preemptible: true,
          automaticRestart: false,
          instanceTerminationAction: "STOP",
        },
      }),
      deletionProtection: protect,
      allowStoppingForUpdate: true,
    },
    // Its public address can only be at one machine at a time; its first boot is all that reads its metadata.
    { parent, protect, deleteBeforeReplace: true, replaceOnChanges: ['metadata["user-data"]'] },
  );
  return {
    resource,
    address: resource.networkInterfaces.apply(([face]) => face?.networkIp ?? ""),
    publicAddress: pulumi.all([outside.address, resource.id]).apply(([ip]) => ip),
  };
}
