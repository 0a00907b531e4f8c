import { rmSync } from "node:fs";

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { stringify } from "yaml";

import { targetNames, targetOf } from "../../components/nodes/targets";
import { stackName, type Recorded, type Recording } from "./record-stack";
import { isSecret, opened, record } from "./recording";

// Runs the committed stacks of targets that no test can deploy, against mocks that only know the resources each may create.

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** The program's error for a configuration that it rejects. */
async function refusal(stack: string, config: object): Promise<string> {
  const failure = await record(stack, "preview", config).then(
    () => new Error("the configuration was accepted"),
    (error: unknown) => error as Error,
  );
  return failure.message;
}

/** The inputs in readable form: sorted keys, masked secrets, no provider code. */
function readable(value: Json): Json {
  if (Array.isArray(value)) return value.map(readable);
  if (typeof value !== "object" || value === null) return value;
  if (isSecret(value)) return "[secret]";
  const keys = Object.keys(value).filter((key) => !key.startsWith("__"));
  return Object.fromEntries(keys.sort().map((key) => [key, readable(value[key] ?? null)]));
}

const ofNodes = /^(?:aws|gcp):|providers:docker$|:(?:SshKey|VirtualBox\w+|DockerEngine|FreePorts)$/;

function golden({ resources }: Recording): string {
  const shown = resources
    .filter(({ type }) => ofNodes.test(type))
    .map(({ type, name, inputs, options }) => ({
      [`${type} ${name}`.trim()]: {
        ...(readable(inputs as Json) as object),
        ...(Object.keys(options).length > 0 && { $options: options }),
      },
    }))
    .sort((a, b) => (Object.keys(a).join() < Object.keys(b).join() ? -1 : 1));
  return stringify(Object.assign({}, ...shown), { lineWidth: 0, aliasDuplicateObjects: false });
}

const stacks = targetNames.filter((target) => target !== "local");
const kept = new Map<string, Recording>();

beforeAll(async () => {
  for (const stack of stacks) {
    const [up, preview] = await Promise.all([record(stack, "up"), record(stack, "preview")]);
    kept.set(`${stack} up`, up);
    kept.set(`${stack} preview`, preview);
  }
}, 240_000);

afterAll(() => {
  for (const stack of stacks) rmSync(`.switchyard/ssh/${stackName(stack)}`, { recursive: true, force: true });
});

const recording = (stack: string, verb = "up"): Recording => {
  const found = kept.get(`${stack} ${verb}`);
  if (found === undefined) throw new Error(`${stack} was not recorded`);
  return found;
};
const ofType = (stack: string, type: string): Recorded[] =>
  recording(stack).resources.filter((resource) => resource.type.endsWith(`:${type}`));

test.each(stacks)("the nodes of stack %s match the golden file", async (stack) => {
  await expect(golden(recording(stack))).toMatchFileSnapshot(`../golden/nodes-${stack}.yaml`);
});

test.each(stacks)("a preview of stack %s registers the same resources", (stack) => {
  const names = ({ resources }: Recording) => resources.map(({ type, name }) => `${type} ${name}`).sort();
  expect(names(recording(stack, "preview"))).toEqual(names(recording(stack)));
});

test.each(stacks)("the Docker Engines of stack %s are reached over SSH only", (stack) => {
  const providers = ofType(stack, "docker").filter(({ type }) => type.startsWith("pulumi:providers:"));
  expect(providers).toHaveLength(3);
  for (const { inputs } of providers) expect(inputs["host"]).toMatch(/^ssh:\/\//);
});

const made = stacks.filter((stack) => targetOf(stack).createsMachines);

test.each(made)("stack %s trusts only its own host keys and keeps private keys secret", (stack) => {
  for (const { inputs } of ofType(stack, "DockerEngine")) {
    const options = (inputs["sshOpts"] as string[]).join(" ");
    expect(options).toContain("StrictHostKeyChecking=yes");
    expect(options).toContain("UserKnownHostsFile=.switchyard/ssh/");
    expect(inputs).toMatchObject({ readyFile: "/var/lib/switchyard/ready" });
  }
  const open = golden(recording(stack));
  expect(open).not.toContain("private-key-of-the-test");
  expect(open).not.toContain("#cloud-config");
});

test.each(made)("resources on a machine of stack %s are deleted and replaced with it", (stack) => {
  for (const { name, options } of ofType(stack, "DockerEngine")) {
    expect(options.deletedWith).toMatch(new RegExp(` ${name}$`));
    expect(options.replaceWith).toEqual([options.deletedWith]);
  }
});

test.each(stacks)("stack %s deletes volumes, except from machines that it created", (stack) => {
  const volumes = ofType(stack, "Volume").filter(({ type }) => type.startsWith("docker:"));
  expect(volumes.length).toBeGreaterThan(0);
  for (const { options } of volumes) expect(options.retainOnDelete).toBe(made.includes(stack) || undefined);
});

test.each(made)("nodes of stack %s keep their machines after the component type was renamed", (stack) => {
  const renamed = ofType(stack, "ProvisionedNode");
  expect(renamed.map(({ type, name, aliases }) => [type, name, ...aliases])).toEqual(
    ["node-1", "node-2", "node-3"].map((name) => [
      "switchyard:index:ProvisionedNode",
      name,
      "switchyard:index:MadeNode",
    ]),
  );
});

test.each(made)("machines of stack %s change one after the other", (stack) => {
  const [machine] = ofType(stack, "DockerEngine").map(({ options }) => options.deletedWith?.split(" ")[0]);
  const turns = recording(stack).resources.filter(
    ({ type }) => type === machine || /:Node(?:Drain|Return)$/.test(type),
  );
  // In the order in which they are registered, each waits for the one before.
  expect(turns.map(({ type, name }) => `${type.split(":").at(-1) ?? ""} ${name}`)).toEqual(
    ["node-1", "node-2", "node-3"].flatMap((name) => [
      `NodeDrain ${name}`,
      `${machine?.split(":").at(-1) ?? ""} ${name}`,
      `NodeReturn ${name}`,
    ]),
  );
});

test.each(made)(
  "adding a node to stack %s changes none of the others",
  async (stack) => {
    const more = await record(stack, "up", { nodes: 4 });
    const without = (recorded: Recording): string =>
      golden({
        ...recorded,
        resources: recorded.resources.filter(({ name }) => !name.includes("node-4")),
      });
    expect(without(more)).toBe(golden(recording(stack)));
  },
  60_000,
);

interface Rule {
  readonly protocol: string;
  readonly fromPort: number;
  readonly toPort: number;
  readonly cidrBlocks?: readonly string[];
  readonly ipv6CidrBlocks?: readonly string[];
  readonly self?: boolean;
}
interface Firewall {
  readonly sourceRanges?: readonly string[];
  readonly sourceTags?: readonly string[];
  readonly allows: readonly { readonly protocol: string; readonly ports?: readonly string[] }[];
}
const isWorld = (cidr: string): boolean => cidr.endsWith("/0");

describe("security: there is never", () => {
  const more = {
    httpPort: 8080,
    certificates: "/etc/certificates",
    services: [
      { name: "db", image: "db:1", port: 5432, type: "tcp", meta: { tcp_port: 5432, check_tcp: "true" } },
    ],
  };

  test("a port other than 80 and 443 open to the world, on aws", async () => {
    for (const { resources } of [recording("aws"), await record("aws", "up", more)]) {
      const groups = resources.filter(({ type }) => type === "aws:ec2/securityGroup:SecurityGroup");
      const rules = groups.flatMap(({ inputs }) => inputs["ingress"] as Rule[]);
      const open = rules.filter((rule) =>
        [...(rule.cidrBlocks ?? []), ...(rule.ipv6CidrBlocks ?? [])].some(isWorld),
      );
      expect(rules.length).toBeGreaterThan(open.length);
      for (const { protocol, fromPort, toPort } of open) {
        expect(protocol).toBe("tcp");
        expect([80, 443]).toContain(fromPort);
        expect(toPort).toBe(fromPort);
      }
      // Nothing else may open ports: no rule outside the group, no other group.
      expect(resources.filter(({ type }) => /Rule:|defaultSecurityGroup|NetworkAcl/i.test(type))).toEqual([]);
      for (const { inputs } of resources.filter(({ type }) => type.endsWith("NetworkInterface"))) {
        expect(inputs["securityGroups"]).toEqual(["switchyard-id"]);
      }
    }
  }, 60_000);

  test("a port other than 80 and 443 open to the world, on gce", async () => {
    for (const { resources } of [recording("gce"), await record("gce", "up", more)]) {
      const rules = resources
        .filter(({ type }) => type === "gcp:compute/firewall:Firewall")
        .map(({ inputs }) => inputs as unknown as Firewall);
      const open = rules.filter(
        ({ sourceRanges, sourceTags }) => sourceTags === undefined || sourceRanges?.some(isWorld),
      );
      const world = open.filter(({ sourceRanges }) => sourceRanges?.some(isWorld) ?? true);
      expect(rules.length).toBeGreaterThan(world.length);
      for (const { allows } of world) {
        for (const { protocol, ports } of allows) {
          expect(protocol).toBe("tcp");
          expect(["80", "443"]).toEqual(expect.arrayContaining([...(ports ?? ["none"])]));
        }
      }
    }
  }, 60_000);

  test("SSH open to everyone", async () => {
    for (const stack of ["aws", "gce"]) {
      expect(await refusal(stack, { adminCidrs: [] })).toContain("switchyard:adminCidrs is empty");
      for (const cidr of ["0.0.0.0/0", "::/0", "128.0.0.0/1"]) {
        expect(await refusal(stack, { adminCidrs: ["203.0.113.7/32", cidr] })).toContain(
          "switchyard:adminCidrs[1]",
        );
      }
    }
  }, 120_000);

  test("an unencrypted disk", () => {
    const instances = ofType("aws", "Instance");
    expect(instances).toHaveLength(3);
    for (const { inputs } of instances) {
      expect(inputs).toMatchObject({ rootBlockDevice: { encrypted: true } });
      expect(inputs).not.toHaveProperty("ebsBlockDevices");
    }
  });

  test("version 1 of the instance metadata service, or access to it from containers", () => {
    for (const { inputs } of ofType("aws", "Instance")) {
      expect(inputs).toMatchObject({
        metadataOptions: { httpTokens: "required", httpPutResponseHopLimit: 1 },
      });
    }
  });

  test("a machine with rights in the cloud account", () => {
    for (const { inputs } of ofType("aws", "Instance"))
      expect(inputs).not.toHaveProperty("iamInstanceProfile");
    const instances = recording("gce").resources.filter(
      ({ type }) => type === "gcp:compute/instance:Instance",
    );
    expect(instances).toHaveLength(3);
    for (const { inputs } of instances) {
      expect(inputs).not.toHaveProperty("serviceAccount");
      expect(opened(inputs)).toMatchObject({
        shieldedInstanceConfig: { enableSecureBoot: true, enableVtpm: true, enableIntegrityMonitoring: true },
        metadata: { "block-project-ssh-keys": "TRUE", "serial-port-enable": "FALSE" },
      });
    }
  });

  test("Docker over plain TCP", () => {
    for (const stack of stacks) {
      const inputs = recording(stack).resources.map((resource) => opened(resource.inputs));
      // Neither as a client nor as a listener.
      expect(/tcp:\/\/|:237[56]\b|\\"hosts\\":|dockerd -H/.exec(JSON.stringify(inputs))?.[0]).toBeUndefined();
    }
  });
});

test("termination protection, spot instances and an existing network can be configured", async () => {
  const protect = await record("aws", "up", {
    machine: { protect: true, vpcId: "vpc-1a", subnetId: "subnet-1b" },
  });
  const instances = protect.resources.filter(({ type }) => type.endsWith(":Instance"));
  expect(instances.map(({ options }) => options.protect)).toEqual([true, true, true]);
  // Otherwise `--replace` would drain a node whose machine is then not replaced.
  const keys = protect.resources.filter(({ name }) => name.endsWith("-host"));
  expect(keys.map(({ options }) => options.protect)).toEqual([true, true, true]);
  expect(instances[0]?.inputs).toMatchObject({ disableApiTermination: true });
  expect(protect.resources.filter(({ type }) => type.endsWith(":Vpc"))).toEqual([]);
  for (const { inputs, options } of protect.resources.filter(({ type }) =>
    type.endsWith(":NetworkInterface"),
  )) {
    expect([inputs["subnetId"], options]).toEqual(["subnet-1b", {}]);
  }
  expect(await refusal("aws", { machine: { protect: true, spot: true } })).toContain(
    "switchyard:machine.protect",
  );

  // A request that could start another instance may outlive the stack.
  const oneTime = await record("aws", "up", { machine: { spot: true } });
  for (const { inputs } of oneTime.resources.filter(({ type }) => type.endsWith(":Instance"))) {
    expect(inputs["instanceMarketOptions"]).toEqual({
      marketType: "spot",
      spotOptions: { spotInstanceType: "one-time", instanceInterruptionBehavior: "terminate" },
    });
  }

  const spot = await record("gce", "up", { machine: { spot: true, osLogin: true, type: "t2a-standard-1" } });
  const [instance] = spot.resources.filter(({ type }) => type === "gcp:compute/instance:Instance");
  expect(opened(instance?.inputs)).toMatchObject({
    scheduling: { provisioningModel: "SPOT" },
    metadata: { "enable-oslogin": "TRUE" },
    bootDisk: { initializeParams: { image: "debian-cloud/debian-13-arm64", type: "pd-balanced" } },
  });
}, 120_000);

test("nodes on aws are spread over the zones that offer their type, and stay there", () => {
  const zones = new Map(
    ofType("aws", "Subnet").map(({ name, inputs }) => [`${name}-id`, inputs["availabilityZone"]]),
  );
  const faces = ofType("aws", "NetworkInterface");
  // The answers of the test: three zones, of which eu-north-1b does not offer the type.
  expect(faces.map(({ inputs }) => zones.get(String(inputs["subnetId"])))).toEqual([
    "eu-north-1a",
    "eu-north-1c",
    "eu-north-1a",
  ]);
  for (const { options } of faces) expect(options.ignoreChanges).toEqual(["subnetId"]);
  for (const { options } of ofType("aws", "Subnet"))
    expect(options.ignoreChanges).toEqual(["availabilityZone"]);
});

test("a machine type of Google that takes only Hyperdisk gets one", async () => {
  const { resources } = await record("gce", "up", { machine: { type: "n4-standard-2" } });
  const instances = resources.filter(({ type }) => type === "gcp:compute/instance:Instance");
  expect(instances.map(({ inputs }) => inputs["bootDisk"])).toEqual(
    [1, 2, 3].map(() => ({
      initializeParams: { image: "debian-cloud/debian-13", size: 20, type: "hyperdisk-balanced" },
    })),
  );
}, 60_000);

describe("before any machine stops", () => {
  test.each<[string, string, { machine?: object; created?: object; message: string }]>([
    [
      "a type that a node's zone does not offer",
      "aws",
      {
        machine: { vpcId: "vpc-1a", subnetId: "subnet-0b" },
        message:
          'switchyard:machine.type is "t3.small", which eu-north-1b, the availability zone of node-1, does not offer',
      },
    ],
    [
      "a type that the zone does not offer",
      "gce",
      {
        machine: { type: "e2-medium" },
        message: 'switchyard:machine.type is "e2-medium", which gcp:zone europe-north1-a does not offer',
      },
    ],
    [
      "a type for another platform than that of the last node",
      "aws",
      { created: { platform: "linux/arm64" }, message: "the machine of node-3 was created for linux/arm64" },
    ],
    [
      "another network than that of the last node",
      "gce",
      { created: { network: "a b" }, message: "the machine of node-3 was created in the network a b" },
    ],
  ])(
    "%s is rejected on %s",
    async (_what, stack, { machine = {}, created, message }) => {
      const failure = await record(stack, "up", { machine }, created).then(
        () => new Error("the configuration was accepted"),
        (error: unknown) => error as Error & { stdout?: string },
      );
      expect(failure.message).toContain(message);
      const { resources } = JSON.parse(("stdout" in failure && failure.stdout) || "{}") as Recording;
      const registered = resources.map(({ type }) => type.replace(/.*:/, ""));
      expect(registered).toContain("CreationSettings");
      expect(registered).not.toContain("NodeDrain");
      expect(registered.filter((type) => type === "Instance")).toEqual([]);
    },
    60_000,
  );
});

test("a spot instance of EC2, which cannot stop, keeps its type", async () => {
  const { resources } = await record("aws", "up", { machine: { type: "t3.medium" } }, { type: "t3.small" });
  const instances = resources.filter(({ type }) => type.endsWith(":Instance"));
  expect(instances.map(({ inputs }) => inputs["instanceType"])).toEqual([
    "t3.medium",
    "t3.medium",
    "t3.small",
  ]);
  const drains = resources.filter(({ type }) => type.endsWith(":NodeDrain"));
  const before = ofType("aws", "NodeDrain");
  const isSame = drains.map(({ inputs }, index) => inputs["change"] === before[index]?.inputs["change"]);
  expect(isSame).toEqual([false, false, true]);
  const spot = await record("aws", "up", { machine: { spot: true } });
  const [created] = spot.resources.filter(({ type }) => type.endsWith(":CreationSettings"));
  expect(created?.inputs).toMatchObject({ settings: { spot: "true", type: "t3.small" } });
}, 120_000);

test("a target loads only its own cloud's SDK", async () => {
  expect((await record("dev", "preview")).sdks).toEqual([]);
  expect(recording("hosts").sdks).toEqual([]);
  expect(recording("aws").sdks).toEqual(["aws"]);
  expect(recording("gce").sdks).toEqual(["gcp"]);
}, 30_000);
