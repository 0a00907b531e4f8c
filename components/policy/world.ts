/** The rule that nothing is open to the world but the load balancer's HTTP and HTTPS. Pure. */
import type { Rule } from "./rules";

type Fields = Readonly<Record<string, unknown>>;

interface Opening {
  readonly protocol: string;
  readonly from: number;
  readonly to: number;
  readonly sources: readonly string[];
}

const open: readonly number[] = [80, 443];
const everything = { from: 0, to: 65_535 };

const securityGroups = [
  "aws:ec2/securityGroup:SecurityGroup",
  "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
];
const groupRule = "aws:ec2/securityGroupRule:SecurityGroupRule";
const ingressRule = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule";
const firewall = "gcp:compute/firewall:Firewall";
const container = "docker:index/container:Container";

const readers: Readonly<Record<string, (inputs: Fields) => Opening[]>> = {
  ...Object.fromEntries(
    securityGroups.map((type) => [type, ({ ingress }: Fields) => fields(ingress).map(ofAws)]),
  ),
  [groupRule]: (inputs) => (inputs["type"] === "ingress" ? [ofAws(inputs)] : []),
  [ingressRule]: (inputs) => [ofAws({ ...inputs, protocol: inputs["ipProtocol"], cidrBlocks: [inputs["cidrIpv4"]], ipv6CidrBlocks: [inputs["cidrIpv6"]] })], // prettier-ignore
  [firewall]: ofGoogle,
  [container]: ofDocker,
};

export const worldwide: Rule = {
  name: "nothing open to the world but 80 and 443",
  types: Object.keys(readers),
  inputs: [
    "ingress",
    ...["type", "protocol", "ipProtocol", "fromPort", "toPort"],
    ...["cidrBlocks", "ipv6CidrBlocks", "cidrIpv4", "cidrIpv6"],
    ...["direction", "allows", "sourceRanges", "sourceTags", "sourceServiceAccounts", "disabled"],
    ...["ports", "publishAllPorts"],
  ],
  check: ({ type, inputs }) => {
    const wrong = readers[type]?.(inputs).find(isTooOpen);
    if (wrong === undefined) return undefined;
    const { from, to, protocol } = wrong;
    const ports = from === to ? `port ${from}` : `ports ${from} to ${to}`;
    return `opens ${protocol} ${ports} to the world, where only 80 and 443 may be: name the networks that need it (for ssh and administration, adminCidrs)`;
  },
};

const isTooOpen = ({ protocol, from, to, sources }: Opening): boolean =>
  sources.some(isWorld) && !(protocol === "tcp" && from === to && open.includes(from));

/** Networks so large that they are nobody's: with two halves of the world nothing would be gained. */
function isWorld(network: string): boolean {
  const [address = "", bits] = network.split("/");
  const length = Number(bits ?? (address.includes(":") ? 128 : 32));
  return length < (address.includes(":") ? 16 : 8);
}

function ofAws(rule: Fields): Opening {
  const protocol = String(rule["protocol"]);
  const all = protocol === "-1" || protocol === "all";
  return {
    protocol: { "-1": "all", "6": "tcp", "17": "udp" }[protocol] ?? protocol,
    ...(all ? everything : { from: Number(rule["fromPort"]), to: Number(rule["toPort"]) }),
    sources: [...texts(rule["cidrBlocks"]), ...texts(rule["ipv6CidrBlocks"])],
  };
}

function ofGoogle(inputs: Fields): Opening[] {
  if (inputs["direction"] === "EGRESS" || inputs["disabled"] === true) return [];
  const named = [inputs["sourceRanges"], inputs["sourceTags"], inputs["sourceServiceAccounts"]];
  // Google takes a rule that names no source for one that names all.
  const sources = named.every((each) => texts(each).length === 0)
    ? ["0.0.0.0/0"]
    : texts(inputs["sourceRanges"]);
  return fields(inputs["allows"]).flatMap(({ protocol, ports }) => {
    const ranges = texts(ports);
    return (ranges.length === 0 ? ["0-65535"] : ranges).map((range) => {
      const [from = 0, to = from] = range.split("-").map(Number);
      return { protocol: String(protocol), from, to, sources };
    });
  });
}

/** Docker opens published ports past a firewall of the node's own. */
function ofDocker({ ports, publishAllPorts }: Fields): Opening[] {
  const all = { protocol: "tcp", ...everything, sources: ["0.0.0.0/0"] };
  return [
    ...(publishAllPorts === true ? [all] : []),
    ...fields(ports).flatMap(({ external, ip, protocol }): Opening[] => {
      const address = typeof ip === "string" && ip !== "" ? ip : "0.0.0.0";
      if (address !== "0.0.0.0" && address !== "::") return [];
      const port = Number(external ?? 0);
      return [{ protocol: typeof protocol === "string" ? protocol : "tcp", from: port, to: port, sources: ["0.0.0.0/0"] }]; // prettier-ignore
    }),
  ];
}

const fields = (list: unknown): Fields[] =>
  Array.isArray(list) ? list.filter((each): each is Fields => typeof each === "object" && each !== null) : [];

const texts = (list: unknown): string[] =>
  Array.isArray(list)
    ? list.flatMap((each) => (typeof each === "string" || typeof each === "number" ? [String(each)] : []))
    : [];
