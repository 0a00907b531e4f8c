import { readFileSync } from "node:fs";

import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";

import { cloudAnswer } from "./cloud-answers";

// Runs the program with a committed stack file against mocks that record every resource and reject unknown types, and prints
// the recording as JSON. Runs in a separate process, because a program runs once in a process.
//
// Arguments: up|preview, the stack (default: dev), JSON configuration that overrides the stack file, and JSON settings that the
// machine of node-3 was created with.

export interface Recorded {
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
  /** Lifecycle options. Resources are given by name. */
  readonly options: {
    readonly protect?: boolean;
    readonly deletedWith?: string;
    readonly replaceWith?: readonly string[];
    readonly deleteBeforeReplace?: boolean;
    readonly retainOnDelete?: boolean;
    readonly ignoreChanges?: readonly string[];
  };
  /** Earlier types, under which engines also look for the resource and its children. */
  readonly aliases: readonly string[];
}

export interface Recording {
  readonly resources: readonly Recorded[];
  readonly outputs: Readonly<Record<string, unknown>>;
  /** The clouds whose SDK was loaded. */
  readonly sdks: readonly string[];
}

export const password = "password-of-the-test";
export const gossipKey = "gossip-key-of-the-test";
export const token = "token-of-the-test";
export const privateKey = "private-key-of-the-test";

/** The outputs of real resources, in addition to their inputs. */
const answers: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "pulumi:providers:docker": {},
  "docker:index/image:Image": {},
  "pulumi-nodejs:dynamic/switchyard:ImagePull": {},
  "docker:index/volume:Volume": {},
  "docker:index/container:Container": {},
  "pulumi-nodejs:dynamic/switchyard:DockerEngine": { bridgeAddress: "172.17.0.1" },
  "pulumi-nodejs:dynamic/switchyard:FreePorts": {},
  "pulumi-nodejs:dynamic/switchyard:RandomKey": { key: gossipKey },
  "pulumi-nodejs:dynamic/switchyard:RandomToken": { token, previous: "" },
  "pulumi-nodejs:dynamic/switchyard:FirewallInForce": {},
  "pulumi-nodejs:dynamic/switchyard:SecretFiles": {},
  "pulumi-nodejs:dynamic/switchyard:AutoscalerKeys": {},
  "pulumi-nodejs:dynamic/switchyard:ConsulAcl": {},
  "pulumi-nodejs:dynamic/switchyard:ConsulCertificates": { authorities: [], version: "1" },
  "pulumi-nodejs:dynamic/switchyard:ConsulGuard": {},
  "pulumi-nodejs:dynamic/switchyard:ConsulMember": {},
  "pulumi-nodejs:dynamic/switchyard:SwarmMember": { nodeId: "node-id" },
  "pulumi-nodejs:dynamic/switchyard:RollingContainer": { containerId: "container-id" },
  "pulumi-nodejs:dynamic/switchyard:Swarm": { swarmId: "swarm-id", created: true },
  "pulumi-nodejs:dynamic/switchyard:SwarmFile": { fileName: "file" },
  "pulumi-nodejs:dynamic/switchyard:NodeVolumes": { placed: { "test-data": "local" } },
  "pulumi-nodejs:dynamic/switchyard:SwarmService": { serviceId: "service-id" },
};

/** A stack name that no user has, so that files written for it overwrite nobody's. */
export const stackName = (stack: string): string => (stack === "dev" ? stack : `test-${stack}`);

const resources: Recorded[] = [];

async function record(
  preview: boolean,
  stack = "dev",
  config: Readonly<Record<string, unknown>> = {},
  created: object = {},
): Promise<Recording> {
  await pulumi.runtime.setMocks(
    {
      call: ({ token, inputs }) => {
        const recorded = inputs as Record<string, unknown>;
        const answer = cloudAnswer(token, "", recorded);
        if (answer === undefined) throw new Error(`no invoke is expected: ${token}`);
        resources.push({ type: token, name: "", inputs: recorded, options: {}, aliases: [] });
        return answer;
      },
      newResource: ({ type, name, inputs, custom }) => {
        const recorded = inputs as Record<string, unknown>;
        const { options = {}, aliases = [] } = requests.get(`${type} ${name}`) ?? {};
        resources.push({ type, name, inputs: recorded, options, aliases });
        if (custom !== true) return { id: undefined, state: recorded };
        const answer = answers[type] ?? cloudAnswer(type, name, recorded);
        if (answer === undefined) throw new Error(`no resource of type ${type} is expected`);
        const computed = {
          ...digestOf(recorded["imageName"]),
          ...certificatesFor(recorded["names"]),
          ...(type.endsWith(":CreationSettings") &&
            name === "node-3" && { settings: { ...(recorded["settings"] as object), ...created } }),
        };
        return { id: `${name}-id`, state: { ...recorded, ...answer, ...computed } };
      },
    },
    "switchyard",
    stackName(stack),
    preview,
  );
  const requests = recordRequests();
  pulumi.runtime.setAllConfig(configOf(stack, config), ["switchyard:statsPassword"]);
  const outputs = await pulumi.runtime.runInPulumiStack(() => Promise.resolve(module.require("../../index")));
  await pulumi.runtime.disconnect();
  const resolved = await new Promise((resolve) => pulumi.output(outputs).apply(resolve));
  const files = Object.keys(require.cache);
  const sdks = ["aws", "gcp"].filter((sdk) => files.some((file) => file.includes(`/@pulumi/${sdk}/`)));
  return { resources, outputs: resolved as Record<string, unknown>, sdks };
}

/** The image's digest in its registry. */
function digestOf(imageName: unknown): { repoDigest?: string } {
  if (typeof imageName !== "string") return {};
  return { repoDigest: imageName.replace(/:[^:]*$/, `@sha256:${"0".repeat(64)}`) };
}

/** A certificate for each node's agent of Consul. */
function certificatesFor(names: unknown): object {
  const nodes = Object.keys(names ?? {});
  return nodes.length === 0
    ? {}
    : { agents: Object.fromEntries(nodes.map((node) => [node, { certificate: "", key: privateKey }])) };
}

interface Request {
  getType(): string;
  getName(): string;
  getProtect(): boolean | undefined;
  getDeletedwith(): string;
  getReplaceWithList(): string[];
  getDeletebeforereplace(): boolean;
  getRetainondelete(): boolean;
  getIgnorechangesList(): string[];
  getAliasesList(): { getSpec(): { getType(): string } | undefined }[];
}

/** Mocks do not receive a resource's options, so read them from the registration requests. */
function recordRequests(): Map<string, Pick<Recorded, "options" | "aliases">> {
  const requests = new Map<string, Pick<Recorded, "options" | "aliases">>();
  const monitor = pulumi.runtime.getMonitor() as unknown as {
    registerResource: (request: Request, answer: unknown) => unknown;
  };
  const original = monitor.registerResource.bind(monitor);
  const nameOf = (urn: string): string => urn.split("::").slice(2).join(" ").replace(/^.*\$/, "");
  monitor.registerResource = (request, answer) => {
    const replaceWith = request.getReplaceWithList().map(nameOf);
    const ignoreChanges = request.getIgnorechangesList();
    const options = {
      ...(request.getProtect() === true && { protect: true }),
      ...(request.getDeletedwith() !== "" && { deletedWith: nameOf(request.getDeletedwith()) }),
      ...(replaceWith.length > 0 && { replaceWith }),
      ...(request.getDeletebeforereplace() && { deleteBeforeReplace: true }),
      ...(request.getRetainondelete() && { retainOnDelete: true }),
      ...(ignoreChanges.length > 0 && { ignoreChanges }),
    };
    requests.set(`${request.getType()} ${request.getName()}`, {
      options,
      aliases: request.getAliasesList().flatMap((alias) => alias.getSpec()?.getType() ?? []),
    });
    return original(request, answer);
  };
  return requests;
}

/** A stack's configuration as an engine passes it to the program: defaults from Pulumi.yaml, values as text. */
function configOf(stack: string, over: Readonly<Record<string, unknown>>): Record<string, string> {
  const read = (file: string) => parse(readFileSync(file, "utf8")) as { config: Record<string, unknown> };
  const defaults = Object.entries(read("Pulumi.yaml").config).map(
    ([key, schema]) => [key, (schema as { default?: unknown }).default] as const,
  );
  const own = Object.entries(read(`Pulumi.${stack}.yaml`).config);
  const more = Object.entries(over).map(([key, value]) => [`switchyard:${key}`, value] as const);
  const values = new Map<string, unknown>([
    ...defaults,
    ...own,
    ["switchyard:statsPassword", password],
    ...more,
  ]);
  return Object.fromEntries(
    [...values].map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]),
  );
}

if (require.main === module) {
  const [, , verb, stack, config = "{}", created = "{}"] = process.argv;
  let recording: Recording = { resources, outputs: {}, sdks: [] };
  // As under the Pulumi CLI, what does not depend on a failure goes on.
  process.on("unhandledRejection", (error) => {
    process.exitCode = 1;
    console.error(String(error));
  });
  process.on("exit", () => {
    console.log(JSON.stringify(recording));
  });
  void record(
    verb === "preview",
    stack,
    JSON.parse(config) as Record<string, unknown>,
    JSON.parse(created) as object,
  ).then((whole) => {
    recording = whole;
  });
}
