import { fields, texts, type FirewallReader, type Opening } from "../target";

const everyPort = { from: 0, to: 65_535 };

const group = (type: string): FirewallReader => ({
  type,
  inputs: ["ingress"],
  read: ({ ingress }) => fields(ingress).map(openingOf),
});

export const firewalls: readonly FirewallReader[] = [
  group("aws:ec2/securityGroup:SecurityGroup"),
  group("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"),
  {
    type: "aws:ec2/securityGroupRule:SecurityGroupRule",
    inputs: ["type", "protocol", "fromPort", "toPort", "cidrBlocks", "ipv6CidrBlocks"],
    read: (inputs) => (inputs["type"] === "ingress" ? [openingOf(inputs)] : []),
  },
  {
    type: "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    inputs: ["ipProtocol", "fromPort", "toPort", "cidrIpv4", "cidrIpv6"],
    read: ({ ipProtocol, cidrIpv4, cidrIpv6, ...ports }) => [
      openingOf({ ...ports, protocol: ipProtocol, cidrBlocks: [cidrIpv4], ipv6CidrBlocks: [cidrIpv6] }),
    ],
  },
];

function openingOf(rule: Readonly<Record<string, unknown>>): Opening {
  const protocol = String(rule["protocol"]);
  const all = protocol === "-1" || protocol === "all";
  return {
    protocol: { "-1": "all", "6": "tcp", "17": "udp" }[protocol] ?? protocol,
    ...(all ? everyPort : { from: Number(rule["fromPort"]), to: Number(rule["toPort"]) }),
    sources: [...texts(rule["cidrBlocks"]), ...texts(rule["ipv6CidrBlocks"])],
  };
}
