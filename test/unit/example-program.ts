import * as path from "node:path";

import * as pulumi from "@pulumi/pulumi";

// Runs the example program in its own folder against mocks, and prints the registered resources as JSON.

interface Seen {
  readonly type: string;
  readonly name: string;
  readonly context?: string;
}

async function main(): Promise<void> {
  const seen: Seen[] = [];
  process.chdir(path.join(__dirname, "../../examples/one-node"));
  await pulumi.runtime.setMocks(
    {
      call: ({ token }) => Promise.reject(new Error(`no invoke is expected: ${token}`)),
      newResource: ({ type, name, inputs }) => {
        const { build } = inputs as { build?: { context: string } };
        seen.push({ type, name, ...(build && { context: build.context }) });
        const more = {
          bridgeAddress: "172.17.0.1",
          key: "a-key-of-the-test",
          token: "a-token-of-the-test",
          previous: "",
          authorities: [],
          agents: { here: { certificate: "", key: "" } },
          version: "1",
          swarmId: "swarm",
          nodeId: "node",
        };
        return { id: `${name}-id`, state: { ...(inputs as object), ...more } };
      },
    },
    "one-node",
    "test",
  );
  pulumi.runtime.setAllConfig({
    "one-node:baseImage": "debian:13.1-slim",
    "one-node:consulImage": "hashicorp/consul:1.21.4",
  });
  await pulumi.runtime.runInPulumiStack(() =>
    Promise.resolve(module.require("../../examples/one-node/index")),
  );
  await pulumi.runtime.disconnect();
  console.log(JSON.stringify(seen));
}

void main();
