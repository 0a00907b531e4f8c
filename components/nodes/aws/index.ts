import * as ec2 from "@pulumi/aws/ec2";
import * as pulumi from "@pulumi/pulumi";

import type { Config } from "../../config/index";
import { ConfigError, flag, mapping, onlyKeys, text, whole } from "../../config/value";
import type { Nodes } from "../index";
import { provisionNodes, type Machine, type MachineParts } from "../provisioned";
import { openPorts, type OpenPorts } from "../ports";

/** Debian's own account, and the release that machines are made from. Another one replaces them. */
const debian = { owner: "136693071363", build: "20260712-2537" };

interface Settings {
  readonly type: string;
  readonly arch: "amd64" | "arm64";
  readonly image: string;
  readonly diskGb: number;
  readonly spot: boolean;
  readonly protect: boolean;
  /** A network of the user's own. */
  readonly network?: Network;
}

interface Network {
  readonly vpcId: pulumi.Input<string>;
  readonly subnetId: pulumi.Input<string>;
}

/** Target `aws`: EC2 instances with Debian in a network of their own, or in one that is there. */
export function createNodes(config: Config): Nodes {
  const settings = parseSettings(config.machine);
  const ports = openPorts(config);
  const tags = { "switchyard:stack": pulumi.getStack() };
  const network = settings.network ?? makeNetwork(tags);
  const group = makeSecurityGroup(network.vpcId, ports, tags);
  const image = ec2.getAmiOutput({
    owners: [debian.owner],
    filters: [
      { name: "name", values: [settings.image] },
      { name: "architecture", values: [settings.arch === "amd64" ? "x86_64" : "arm64"] },
      { name: "virtualization-type", values: ["hvm"] },
    ],
  });
  return provisionNodes(config, {
    platform: `linux/${settings.arch}`,
    makeMachine: (parts) => makeInstance(parts, { settings, network, group, image: image.id, tags }),
  });
}

/**
 * The mapping `machine`, with defaults filled in.
 *
 * @throws ConfigError naming the key
 */
export function parseSettings(value: unknown): Settings {
  const entry = mapping(value, "machine");
  onlyKeys(entry, "machine", ["type", "image", "diskGb", "spot", "protect", "vpcId", "subnetId"]);
  const type = text(
    entry["type"] ?? "t3.small",
    "machine.type",
    /^[a-z][a-z0-9-]*\.[a-z0-9-]+$/,
    'an instance type such as "t3.small"',
  );
  // Graviton: a "g" behind the generation, as in t4g and m7gd.
  const arch = /^[a-z]+\d+g/.test(type) ? "arm64" : "amd64";
  const spot = flag(entry["spot"] ?? false, "machine.spot");
  const protect = flag(entry["protect"] ?? false, "machine.protect");
  if (spot && protect) {
    throw new ConfigError(
      "machine.protect",
      "is true, but EC2 cannot protect spot instances",
      "set one of spot and protect to false",
    );
  }
  const id = (name: string, prefix: string): string | undefined =>
    entry[name] === undefined
      ? undefined
      : text(entry[name], `machine.${name}`, new RegExp(`^${prefix}-[0-9a-f]+$`), `an id: ${prefix}-…`);
  const vpcId = id("vpcId", "vpc");
  const subnetId = id("subnetId", "subnet");
  if ((vpcId === undefined) !== (subnetId === undefined)) {
    throw new ConfigError(
      `machine.${vpcId === undefined ? "vpcId" : "subnetId"}`,
      "is missing",
      "give both vpcId and subnetId, or neither for a network of the stack's own",
    );
  }
  return {
    type,
    arch,
    image: text(
      entry["image"] ?? `debian-13-${arch}-${debian.build}`,
      "machine.image",
      /^debian-[a-z0-9-]+$/,
      "the name of one of Debian's own images, https://wiki.debian.org/Cloud/AmazonEC2Image",
    ),
    diskGb: whole(entry["diskGb"] ?? 20, "machine.diskGb", 8, 16_384),
    spot,
    protect,
    ...(vpcId !== undefined && subnetId !== undefined && { network: { vpcId, subnetId } }),
  };
}

type Tags = Readonly<Record<string, string>>;

function makeNetwork(tags: Tags): Network {
  const named = { tags: { ...tags, Name: `switchyard-${pulumi.getStack()}` } };
  const vpc = new ec2.Vpc("switchyard", { cidrBlock: "10.77.0.0/16", enableDnsHostnames: true, ...named });
  const gateway = new ec2.InternetGateway("switchyard", { vpcId: vpc.id, ...named }, { parent: vpc });
  const subnet = new ec2.Subnet(
    "switchyard",
    { vpcId: vpc.id, cidrBlock: "10.77.0.0/20", ...named },
    { parent: vpc },
  );
  const table = new ec2.RouteTable(
    "switchyard",
    { vpcId: vpc.id, routes: [{ cidrBlock: "0.0.0.0/0", gatewayId: gateway.id }], ...named },
    { parent: vpc },
  );
  const association = new ec2.RouteTableAssociation(
    "switchyard",
    { subnetId: subnet.id, routeTableId: table.id },
    { parent: vpc },
  );
  // A machine that starts before it has a way out could not install anything.
  const subnetId = pulumi.all([subnet.id, association.id]).apply(([id]) => id);
  return { vpcId: vpc.id, subnetId };
}

function makeSecurityGroup(vpcId: pulumi.Input<string>, ports: OpenPorts, tags: Tags): ec2.SecurityGroup {
  const tcp = (port: number) => ({ protocol: "tcp", fromPort: port, toPort: port });
  const everywhere = { cidrBlocks: ["0.0.0.0/0"], ipv6CidrBlocks: ["::/0"] };
  const isV6 = (cidr: string): boolean => cidr.includes(":");
  const administrators = {
    cidrBlocks: ports.adminCidrs.filter((cidr) => !isV6(cidr)),
    ipv6CidrBlocks: ports.adminCidrs.filter(isV6),
  };
  // In one piece with its rules, so that a rule that somebody adds by hand is taken away by the next update.
  return new ec2.SecurityGroup("switchyard", {
    vpcId,
    description: "Switchyard nodes",
    ingress: [
      ...ports.world.map((port) => ({ ...tcp(port), ...everywhere, description: "traffic" })),
      ...ports.admin.map((port) => ({ ...tcp(port), ...administrators, description: "administrators" })),
      { protocol: "-1", fromPort: 0, toPort: 0, self: true, description: "nodes" },
    ],
    egress: [{ protocol: "-1", fromPort: 0, toPort: 0, ...everywhere }],
    tags,
  });
}

interface InstanceArgs {
  readonly settings: Settings;
  readonly network: Network;
  readonly group: ec2.SecurityGroup;
  readonly image: pulumi.Output<string>;
  readonly tags: Tags;
}

/** An instance whose addresses are those of a network interface, so that they stay when it is replaced. */
function makeInstance({ name, parent, userData }: MachineParts, args: InstanceArgs): Machine {
  const { settings, network, group, image } = args;
  const { spot, protect } = settings;
  const tags = { ...args.tags, Name: `${pulumi.getStack()}-${name}` };
  const face = new ec2.NetworkInterface(
    name,
    { subnetId: network.subnetId, securityGroups: [group.id], tags },
    { parent },
  );
  const address = new ec2.Eip(name, { domain: "vpc", networkInterface: face.id, tags }, { parent });
  const resource = new ec2.Instance(
    name,
    {
      ami: image,
      instanceType: settings.type,
      // Only once the public address is there: the first boot needs a way out.
      primaryNetworkInterface: {
        networkInterfaceId: pulumi.all([face.id, address.id]).apply(([id]) => id),
      },
      userData,
      userDataReplaceOnChange: true,
      metadataOptions: { httpEndpoint: "enabled", httpTokens: "required", httpPutResponseHopLimit: 1 },
      rootBlockDevice: {
        encrypted: true,
        volumeType: "gp3",
        volumeSize: settings.diskGb,
        deleteOnTermination: true,
        tags,
      },
      disableApiTermination: protect,
      ...(spot && {
        instanceMarketOptions: {
          marketType: "spot",
          spotOptions: { spotInstanceType: "persistent", instanceInterruptionBehavior: "stop" },
        },
      }),
      tags,
    },
    { parent, protect, deleteBeforeReplace: true },
  );
  return {
    resource,
    address: face.privateIp,
    // Known once the machine is there.
    publicAddress: pulumi.all([address.publicIp, resource.id]).apply(([ip]) => ip),
  };
}
