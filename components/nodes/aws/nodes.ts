import * as ec2 from "@pulumi/aws/ec2";
import * as pulumi from "@pulumi/pulumi";

import { networkSetting } from "../creation-settings";
import { openPorts, type OpenPorts } from "../open-ports";
import { numberOf, provisionNodes, type Place, type PlaceParts } from "../provisioned";
import type { Nodes, NodesConfig } from "../target";
import { parseSettings, type Settings } from "./settings";
import { requireOffered, zonesForSubnets, zonesOffering } from "./zones";

/** Debian's AWS account. */
const debianOwner = "136693071363";

interface Network {
  readonly vpcId: pulumi.Input<string>;
  /** Nodes are spread over these subnets. */
  readonly subnets: readonly Subnet[];
}

interface Subnet {
  readonly id: pulumi.Input<string>;
  readonly zone: pulumi.Output<string>;
}

/** How many zones the nodes are spread over: enough for Consul and Swarm to survive the loss of one. */
const maxZones = 3;

export function createNodes(config: NodesConfig): Nodes {
  const settings = parseSettings(config.machine);
  const ports = openPorts(config);
  const tags = { "switchyard:stack": pulumi.getStack() };
  const offering = zonesOffering(settings.type);
  const network =
    settings.network === undefined
      ? makeNetwork(Math.min(config.nodes, maxZones), zonesForSubnets(settings.type, offering), tags)
      : existingNetwork(settings.network);
  const group = makeSecurityGroup(network.vpcId, ports, tags);
  const image = ec2.getAmiOutput({
    owners: [debianOwner],
    // A deprecated image still starts. Without it, the search would fail some years after the release.
    includeDeprecated: true,
    filters: [
      { name: "name", values: [settings.image] },
      { name: "architecture", values: [settings.arch === "amd64" ? "x86_64" : "arm64"] },
      { name: "virtualization-type", values: ["hvm"] },
    ],
  });
  return provisionNodes(config, {
    platform: `linux/${settings.arch}`,
    apt: settings.apt,
    created: image.id.apply((ami) => ({
      image: ami,
      spot: String(settings.spot),
      network: networkSetting(settings.network),
      // EC2 does not stop a one-time spot instance, so another type takes another instance.
      ...(settings.spot && { type: settings.type }),
    })),
    protect: settings.protect,
    makePlace: (parts) => makePlace(parts, { settings, offering, network, group, tags }),
  });
}

type Tags = Readonly<Record<string, string>>;

function existingNetwork({ vpcId, subnetId: id }: NonNullable<Settings["network"]>): Network {
  return { vpcId, subnets: [{ id, zone: ec2.getSubnetOutput({ id }).availabilityZone }] };
}

/** A network with one subnet per zone. With fewer zones than subnets, several subnets are in one zone. */
function makeNetwork(count: number, zones: pulumi.Output<string[]>, tags: Tags): Network {
  const named = { tags: { ...tags, Name: `switchyard-${pulumi.getStack()}` } };
  const vpc = new ec2.Vpc("switchyard", { cidrBlock: "10.77.0.0/16", enableDnsHostnames: true, ...named });
  const gateway = new ec2.InternetGateway("switchyard", { vpcId: vpc.id, ...named }, { parent: vpc });
  const table = new ec2.RouteTable(
    "switchyard",
    { vpcId: vpc.id, routes: [{ cidrBlock: "0.0.0.0/0", gatewayId: gateway.id }], ...named },
    { parent: vpc },
  );
  const subnets = Array.from({ length: count }, (_, index) => {
    const name = index === 0 ? "switchyard" : `switchyard-${index + 1}`;
    const subnet = new ec2.Subnet(
      name,
      {
        vpcId: vpc.id,
        cidrBlock: `10.77.${index * 16}.0/20`,
        availabilityZone: zones.apply((all) => all[index % all.length] ?? ""),
        ...named,
      },
      // A subnet cannot move, so another zone would replace it and its nodes.
      { parent: vpc, ignoreChanges: ["availabilityZone"] },
    );
    const association = new ec2.RouteTableAssociation(
      name,
      { subnetId: subnet.id, routeTableId: table.id },
      { parent: vpc },
    );
    // Wait for the route: a machine without internet access cannot install anything at its first boot.
    const id = pulumi.all([subnet.id, association.id]).apply(([id]) => id);
    return { id, zone: subnet.availabilityZone };
  });
  return { vpcId: vpc.id, subnets };
}

function makeSecurityGroup(vpcId: pulumi.Input<string>, ports: OpenPorts, tags: Tags): ec2.SecurityGroup {
  const tcp = (port: number) => ({ protocol: "tcp", fromPort: port, toPort: port });
  const everywhere = { cidrBlocks: ["0.0.0.0/0"], ipv6CidrBlocks: ["::/0"] };
  const isV6 = (cidr: string): boolean => cidr.includes(":");
  const administrators = {
    cidrBlocks: ports.adminCidrs.filter((cidr) => !isV6(cidr)),
    ipv6CidrBlocks: ports.adminCidrs.filter(isV6),
  };
  // With inline rules, the next update removes any rule that was added by hand.
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
  /** The zones that offer the type. */
  readonly offering: pulumi.Output<string[]>;
  readonly network: Network;
  readonly group: ec2.SecurityGroup;
  readonly tags: Tags;
}

/** An instance with a separate network interface, so that its addresses survive its replacement. */
function makePlace({ name, created, parent }: PlaceParts, args: InstanceArgs): Place {
  const { settings, offering, network, group } = args;
  const { protect } = settings;
  const type = created.setting("type").apply((kept) => kept || settings.type);
  const tags = { ...args.tags, Name: `${pulumi.getStack()}-${name}` };
  const { subnets } = network;
  const subnet = subnets[(numberOf(name) - 1) % subnets.length];
  if (subnet === undefined) throw new Error("the network has no subnet");
  const face = new ec2.NetworkInterface(
    name,
    { subnetId: subnet.id, securityGroups: [group.id], tags },
    // In the program's own network, nodes of stacks that had one subnet stay where they are.
    { parent, ...(settings.network === undefined && { ignoreChanges: ["subnetId"] }) },
  );
  const address = new ec2.Eip(name, { domain: "vpc", networkInterface: face.id, tags }, { parent });
  const makeMachine: Place["makeMachine"] = (options) => {
    const resource = new ec2.Instance(
      name,
      {
        ami: created.setting("image"),
        instanceType: type,
        // Wait for the public address: the first boot needs internet access.
        primaryNetworkInterface: {
          networkInterfaceId: pulumi.all([face.id, address.id]).apply(([id]) => id),
        },
        userData: created.userData,
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
        instanceMarketOptions: created.when("spot", marketOptions),
        tags,
      },
      { ...options, protect, deleteBeforeReplace: true },
    );
    return { resource, address: face.privateIp };
  };
  const checked = pulumi.all([type, subnet.zone, offering]).apply(([type, zone, offering]) => {
    if (type === settings.type) requireOffered(name, type, zone, offering);
  });
  return { publicAddress: address.publicIp, checked, restarting: { type }, makeMachine };
}

/**
 * The provider does not reliably cancel a persistent request, which then starts another instance after the stack is deleted
 * (hashicorp/terraform-provider-aws#38142). One-time requests cannot stop instances, only terminate them.
 */
const marketOptions = {
  marketType: "spot",
  spotOptions: { spotInstanceType: "one-time", instanceInterruptionBehavior: "terminate" },
};
