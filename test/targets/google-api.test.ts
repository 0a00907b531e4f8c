import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { scratch } from "../e2e/scratch";
import { afterwards, tearDown } from "../e2e/tear-down";
import { stackName } from "../unit/record-stack";
import { opened, record } from "../unit/recording";

// What target `gce` asks of Compute Engine, held against Google's own description of its API.

/** Google's client, which contains the description. Needs Go. */
const client = "google.golang.org/api@v0.312.0";

/** A schema of a discovery document: https://developers.google.com/discovery/v1/type-format */
interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  /** IDs of the methods that need the property. */
  readonly annotations?: { readonly required?: readonly string[] };
}
interface Method {
  readonly id: string;
  readonly request: Schema;
}
interface Discovery {
  readonly schemas: Readonly<Record<string, Schema>>;
  readonly resources: Readonly<Record<string, { readonly methods: { readonly insert: Method } }>>;
}

const hasGo = spawnSync("go", ["version"]).status === 0;
let discovery: Discovery;

/** What is wrong with a value that a method gets. */
function problems(value: unknown, schema: Schema, method: string, path: string): string[] {
  const { $ref, type, items, properties = {}, additionalProperties } = schema;
  if ($ref !== undefined) return problems(value, discovery.schemas[$ref] ?? {}, method, path);
  switch (type) {
    case "object": {
      if (typeof value !== "object" || value === null) return [`${path} is no object`];
      const missing = Object.entries(properties)
        .filter(
          ([key, { annotations }]) => annotations?.required?.includes(method) === true && !(key in value),
        )
        .map(([key]) => `${path}.${key} is missing`);
      const wrong = Object.entries(value).flatMap(([key, each]) => {
        const own = properties[key] ?? additionalProperties;
        return own === undefined
          ? [`${path}.${key} is unknown`]
          : problems(each, own, method, `${path}.${key}`);
      });
      return [...missing, ...wrong];
    }
    case "array":
      if (!Array.isArray(value)) return [`${path} is no list`];
      return value.flatMap((each, index) => problems(each, items ?? {}, method, `${path}[${index}]`));
    case "string":
      if (typeof value !== "string") return [`${path} is no text`];
      if (schema.enum !== undefined && !schema.enum.includes(value)) return [`${path} is "${value}"`];
      if (schema.pattern !== undefined && !new RegExp(`^(?:${schema.pattern})$`).test(value))
        return [`${path} is "${value}"`];
      return [];
    case "integer":
      return Number.isInteger(value) ? [] : [`${path} is no whole number`];
    default:
      return typeof value === type ? [] : [`${path} is of another type than ${type ?? "any"}`];
  }
}

/** The inputs that the program gives resources. */
interface Inputs {
  readonly allowStoppingForUpdate?: boolean;
  readonly network?: string;
  readonly autoCreateSubnetworks?: boolean;
  readonly ipCidrRange?: string;
  readonly direction?: string;
  readonly sourceRanges?: readonly string[];
  readonly sourceTags?: readonly string[];
  readonly targetTags?: readonly string[];
  readonly allows?: readonly { readonly protocol: string; readonly ports?: readonly string[] }[];
  readonly machineType?: string;
  readonly tags?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly bootDisk?: {
    readonly initializeParams: { readonly image: string; readonly size: number; readonly type: string };
  };
  readonly networkInterfaces?: readonly {
    readonly network: string;
    readonly subnetwork: string;
    readonly accessConfigs: readonly { readonly natIp: string }[];
  }[];
  readonly metadata?: Readonly<Record<string, string>>;
  readonly metadataStartupScript?: string;
  readonly shieldedInstanceConfig?: object;
  readonly scheduling?: object;
  readonly deletionProtection?: boolean;
}

const instance = ({
  bootDisk,
  networkInterfaces,
  metadata,
  metadataStartupScript,
  ...inputs
}: Inputs): object => {
  const { tags, machineType, ...same } = inputs;
  const { image, size, type, ...others } = bootDisk?.initializeParams ?? { image: "", size: 0, type: "" };
  const zone = "projects/acme/zones/europe-north1-a";
  return {
    ...same,
    // How Terraform's provider makes an update.
    allowStoppingForUpdate: undefined,
    machineType: `${zone}/machineTypes/${machineType}`,
    tags: { items: tags },
    disks: [
      {
        boot: true,
        autoDelete: true,
        initializeParams: {
          ...others,
          sourceImage: image,
          diskSizeGb: String(size),
          diskType: `${zone}/diskTypes/${type}`,
        },
      },
    ],
    networkInterfaces: networkInterfaces?.map(({ accessConfigs, ...rest }) => ({
      ...rest,
      accessConfigs: accessConfigs.map(({ natIp, ...config }) => ({
        ...config,
        natIP: natIp,
        type: "ONE_TO_ONE_NAT",
      })),
    })),
    metadata: {
      items: Object.entries({ ...metadata, "startup-script": metadataStartupScript }).map(([key, value]) => ({
        key,
        value,
      })),
    },
  };
};
const firewall = ({ allows, ...same }: Inputs): object => ({
  ...same,
  allowed: allows?.map(({ protocol, ...rest }) => ({ IPProtocol: protocol, ...rest })),
});

/** What Terraform's provider sends for each type of resource: the collection, and the content, from its `expand…` functions. */
const requests: Readonly<Record<string, readonly [string, (inputs: Inputs) => object]>> = {
  Address: ["addresses", (inputs) => inputs],
  Firewall: ["firewalls", firewall],
  Instance: ["instances", instance],
  Network: ["networks", (inputs) => inputs],
  Subnetwork: ["subnetworks", (inputs) => inputs],
};

beforeAll(() => {
  if (!hasGo) return;
  const download = execFileSync("go", ["mod", "download", "-json", client], { cwd: scratch().path });
  const { Dir } = JSON.parse(download.toString()) as { readonly Dir: string };
  const file = join(Dir, "compute/v1/compute-api.json");
  discovery = JSON.parse(readFileSync(file, "utf8")) as Discovery;
  afterwards(() => {
    rmSync(`.switchyard/ssh/${stackName("gce")}`, { recursive: true, force: true });
  });
});
afterAll(tearDown);

test.skipIf(!hasGo).each([
  ["as it is", {}],
  ["with spot machines", { machine: { spot: true, osLogin: true, type: "t2a-standard-1" } }],
  ["with Hyperdisk and protection", { machine: { type: "n4-standard-2", protect: true } }],
])("the stack %s asks for nothing that Google's API does not know", async (_, config) => {
  const recording = await record("gce", "up", config);
  // Resources, not the calls that only ask.
  const found = recording.resources.filter(({ type }) => /^gcp:.*:[A-Z]/.test(type));
  expect(found).toHaveLength(11);
  for (const { type, name, inputs } of found) {
    const [collection, request] = requests[type.split(":").at(-1) ?? ""] ?? [];
    if (collection === undefined || request === undefined) throw new Error(`no request is known for ${type}`);
    const { insert } = discovery.resources[collection]?.methods ?? {};
    if (insert === undefined) throw new Error(`Google's API has no ${collection}`);
    // Pulumi adds digits to names. What is undefined is not sent.
    const content = JSON.parse(
      JSON.stringify({ name: `${name}-0123abc`, ...request(opened(inputs) as Inputs) }),
    ) as object;
    expect(problems(content, insert.request, insert.id, `${collection} ${name}`)).toEqual([]);
  }
});

test.skipIf(!hasGo)("what the API does not know is found", () => {
  const { request, id } = discovery.resources["firewalls"]?.methods.insert ?? { request: {}, id: "" };
  const wrong = {
    direction: "IN",
    allowed: [{ protocol: "tcp" }],
    priority: "1",
    sourceTags: "x",
    network: "n",
  };
  expect(problems(wrong, request, id, "firewall").sort()).toEqual(
    [
      'firewall.direction is "IN"',
      "firewall.name is missing",
      "firewall.allowed[0].protocol is unknown",
      "firewall.priority is no whole number",
      "firewall.sourceTags is no list",
    ].sort(),
  );
});
