import { readFileSync } from "node:fs";

import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";

// Runs the program of the committed dev stack against mocks that record every resource and know no other, and prints
// what it recorded as JSON. A process of its own: Pulumi serialises the dynamic providers' functions, which only works
// on code that is loaded as Pulumi itself loads it.

export interface Recorded {
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
}

export interface Recording {
  readonly resources: readonly Recorded[];
  readonly outputs: Readonly<Record<string, unknown>>;
}

export const password = "password-of-the-test";
export const gossipKey = "gossip-key-of-the-test";

/** What the real resources would answer with, beside their inputs. */
const answers: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "pulumi:providers:docker": {},
  "docker:index/image:Image": {},
  "docker:index/volume:Volume": {},
  "docker:index/container:Container": {},
  "pulumi-nodejs:dynamic/switchyard:DockerEngine": { bridgeAddress: "172.17.0.1", hostname: "host" },
  "pulumi-nodejs:dynamic/switchyard:FreePorts": {},
  "pulumi-nodejs:dynamic/switchyard:RandomKey": { key: gossipKey },
  "pulumi-nodejs:dynamic/switchyard:ConsulMember": {},
  "pulumi-nodejs:dynamic/switchyard:SwarmMember": { nodeId: "node-id" },
  "pulumi-nodejs:dynamic/switchyard:Swarm": { swarmId: "swarm-id", created: true },
  "pulumi-nodejs:dynamic/switchyard:SwarmService": { serviceId: "service-id" },
};

async function record(preview: boolean): Promise<Recording> {
  const resources: Recorded[] = [];
  await pulumi.runtime.setMocks(
    {
      call: ({ token }) => Promise.reject(new Error(`no invoke is expected: ${token}`)),
      newResource: ({ type, name, inputs, custom }) => {
        const recorded = inputs as Record<string, unknown>;
        resources.push({ type, name, inputs: recorded });
        if (custom !== true) return { id: undefined, state: recorded };
        const answer = answers[type];
        if (answer === undefined) throw new Error(`no resource of type ${type} is expected`);
        return { id: `${name}-id`, state: { ...recorded, ...answer } };
      },
    },
    "switchyard",
    "dev",
    preview,
  );
  pulumi.runtime.setAllConfig(devConfig(), ["switchyard:statsPassword"]);
  const outputs = await pulumi.runtime.runInPulumiStack(() => Promise.resolve(module.require("../../index")));
  await pulumi.runtime.disconnect();
  const resolved = await new Promise((resolve) => pulumi.output(outputs).apply(resolve));
  return { resources, outputs: resolved as Record<string, unknown> };
}

/** The dev stack's configuration as an engine passes it on: defaults of Pulumi.yaml beneath, all values as text. */
function devConfig(): Record<string, string> {
  const read = (file: string) => parse(readFileSync(file, "utf8")) as { config: Record<string, unknown> };
  const defaults = Object.entries(read("Pulumi.yaml").config).map(
    ([key, schema]) => [key, (schema as { default?: unknown }).default] as const,
  );
  const own = Object.entries(read("Pulumi.dev.yaml").config);
  const values = new Map<string, unknown>([...defaults, ...own, ["switchyard:statsPassword", password]]);
  return Object.fromEntries(
    [...values].map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]),
  );
}

if (require.main === module) {
  void record(process.argv[2] === "preview").then((recording) => {
    console.log(JSON.stringify(recording));
  });
}
