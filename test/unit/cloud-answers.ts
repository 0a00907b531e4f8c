/** The outputs of cloud and machine resources, in addition to their inputs. Addresses contain the node's number. */
type Answer = Readonly<Record<string, unknown>>;

const answers: Readonly<Record<string, (node: number, inputs: Answer) => Answer>> = {
  "aws:ec2/getAmi:getAmi": () => ({ id: "ami-0123456789abcdef0" }),
  "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": () => ({
    locations: ["eu-north-1c", "eu-north-1a", "eu-north-1-osl-1a"],
  }),
  "aws:index/getAvailabilityZones:getAvailabilityZones": () => ({
    names: ["eu-north-1a", "eu-north-1b", "eu-north-1c"],
  }),
  "aws:ec2/getSubnet:getSubnet": (_, { id }) => ({
    availabilityZone: id === "subnet-0b" ? "eu-north-1b" : "eu-north-1a",
  }),
  "aws:ec2/vpc:Vpc": () => ({}),
  "aws:ec2/internetGateway:InternetGateway": () => ({}),
  "aws:ec2/subnet:Subnet": () => ({}),
  "aws:ec2/routeTable:RouteTable": () => ({}),
  "aws:ec2/routeTableAssociation:RouteTableAssociation": () => ({}),
  "aws:ec2/securityGroup:SecurityGroup": () => ({}),
  "aws:ec2/networkInterface:NetworkInterface": (node) => ({ privateIp: `10.77.0.${node}` }),
  "aws:ec2/eip:Eip": (node) => ({ publicIp: `198.51.100.${node}` }),
  "aws:ec2/instance:Instance": () => ({}),
  "gcp:compute/getMachineTypes:getMachineTypes": (_, { filter }) => ({
    zone: "europe-north1-a",
    machineTypes: ["e2-small", "n4-standard-2", "t2a-standard-1"]
      .filter((name) => filter === `name = "${name}"`)
      .map((name) => ({ name })),
  }),
  "gcp:compute/network:Network": () => ({}),
  "gcp:compute/subnetwork:Subnetwork": () => ({}),
  "gcp:compute/firewall:Firewall": () => ({}),
  "gcp:compute/address:Address": (node) => ({ address: `198.51.100.${node}` }),
  "gcp:compute/instance:Instance": (node) => ({
    networkInterfaces: [{ networkIp: `10.77.0.${node}` }],
  }),
  "pulumi-nodejs:dynamic/switchyard:VirtualBoxImage": () => ({ disk: ".switchyard/images/debian.vdi" }),
  "pulumi-nodejs:dynamic/switchyard:VirtualBoxVm": () => ({}),
  "pulumi-nodejs:dynamic/switchyard:CreationSettings": () => ({}),
  "pulumi-nodejs:dynamic/switchyard:NodeDrain": () => ({}),
  "pulumi-nodejs:dynamic/switchyard:NodeReturn": () => ({}),
  "pulumi-nodejs:dynamic/switchyard:SshKey": () => ({
    privateKey:
      "-----BEGIN OPENSSH PRIVATE KEY-----\nprivate-key-of-the-test\n-----END OPENSSH PRIVATE KEY-----\n",
    publicKey: "ssh-ed25519 AAAA test",
  }),
};

/** Undefined for a type or function that no stack should use. */
export function cloudAnswer(type: string, name: string, inputs: Answer): Answer | undefined {
  return answers[type]?.(Number(/\d+$/.exec(name)?.[0] ?? 0), inputs);
}
