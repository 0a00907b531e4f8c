import { expect, test } from "vitest";

import { driftSentence, readGone, stillDeployed, withoutRefresh } from "./drift";
import { readPlan, readSteps, unreachableIn } from "./infrastructure";

const container = "docker:index/container:Container";
const volume = "docker:index/volume:Volume";
const service = "pulumi-nodejs:dynamic/switchyard:SwarmService";
const urn = (type: string, name: string) =>
  `urn:pulumi:dev::switchyard::switchyard:index:Part$${type}::${name}`;

const plan = `    + ${container}: (create)
        [urn=${urn(container, "registrator-local")}]
        name : "registrator"
    + ${volume}: (create)
        [urn=${urn(volume, "new")}]
Resources:
    + 2 to create
    1 unchanged`;
const refresh = `Previewing update (dev):
~ pulumi:pulumi:Stack: (refresh)
    [urn=urn:pulumi:dev::switchyard::pulumi:pulumi:Stack::switchyard-dev]
    ~ ${volume}: (refresh)
        [id=rest-state]
        [urn=${urn(volume, "rest-local")}]
        --outputs:--
      + driverOpts: {}
    \x1b[33m~ ${container}: (refresh)\x1b[0m
        [id=0123]
        [urn=${urn(container, "registrator-local")}]
        --outputs:--
      - capabilities: {
          - drops: [
          -     [0]: "ALL"
            ]
        }
  pulumi:pulumi:Stack: (same)
    [urn=urn:pulumi:dev::switchyard::pulumi:pulumi:Stack::switchyard-dev]
@ previewing update....
${plan}`;

test("what the refresh of the Pulumi CLI shows is left out, but for what is gone", () => {
  const text = withoutRefresh(refresh);
  expect(text.split("\n").slice(0, 5)).toEqual([
    "Previewing update (dev):",
    `"registrator-local" (${container}) no longer exists: something else deleted it.`,
    "  pulumi:pulumi:Stack: (same)",
    "    [urn=urn:pulumi:dev::switchyard::pulumi:pulumi:Stack::switchyard-dev]",
    "@ previewing update....",
  ]);
  expect(text).toContain(plan);
  expect(readGone(text)).toEqual([{ type: container, name: "registrator-local" }]);
  expect(readSteps(text).filter(({ operation }) => operation === "refresh")).toEqual([]);
});

test("a preview that finds nothing is left as it is", () => {
  expect(withoutRefresh(`Previewing update (dev):\n${plan}\n`)).toBe(`Previewing update (dev):\n${plan}\n`);
  expect(driftSentence([])).toBeUndefined();
});

test("neither does the JSON have the refresh as steps", () => {
  const steps = [
    { op: "refresh", urn: urn(container, "registrator-local") },
    { op: "refresh", urn: urn(volume, "rest-local") },
    { op: "create", urn: urn(container, "registrator-local") },
    { op: "create", urn: urn(volume, "new") },
  ];
  const read = readPlan(JSON.stringify({ steps }));
  expect(read?.steps.map(({ operation, name }) => [operation, name])).toEqual([
    ["create", "registrator-local"],
    ["create", "new"],
  ]);
  expect(read?.gone).toEqual([{ type: container, name: "registrator-local" }]);
});

test("routes of services that are gone are compared as new", () => {
  const stack = {
    services: [
      { name: "time", type: "rest" as const, replicas: 1, runs: "build hello" },
      { name: "hello/v1", type: "rest" as const, replicas: 1, runs: "build hello" },
    ],
    ports: { httpPort: 80 },
  };
  const gone = [
    { type: service, name: "time" },
    { type: "pulumi-nodejs:dynamic/switchyard:RollingContainer", name: "rest-local" },
    { type: container, name: "consul-local" },
  ];
  const actual = stillDeployed(stack, gone);
  expect(actual.stack.services.map(({ name }) => name)).toEqual(["hello/v1"]);
  expect(actual.stack.ports).toEqual(stack.ports);
  expect(actual.notes).toEqual([
    "Something else removed time, so the comparison is without what answered there.",
    "Something else removed the load balancer of local: nothing answers there until up creates it again.",
  ]);
  expect(driftSentence(gone)).toBe(
    "Something else removed 3 resources, which up creates again: SwarmService time, RollingContainer rest-local, Container consul-local",
  );
});

test.each([
  [
    "error: Preview failed: Docker at ssh://me@a did not answer within 60 s (ssh: no route)\nerror: preview failed\n",
    "Docker at ssh://me@a did not answer within 60 s (ssh: no route)",
  ],
  [
    "error: Preview failed: docker native provider returned an unexpected error from Configure: failed to connect to any docker daemon\n",
    "failed to connect to any docker daemon",
  ],
  ["error: Running program failed: a policy is broken\nerror: preview failed\n", undefined],
])("only an engine that cannot be reached is a reason to compare with the state", (stderr, reason) => {
  expect(unreachableIn({ stdout: "", stderr })).toBe(reason);
  const diagnostics = stderr.split("\n").map((message) => ({ severity: "error", message: `${message}\n` }));
  expect(unreachableIn({ stdout: JSON.stringify({ diagnostics }), stderr: "" })).toBe(reason);
});
