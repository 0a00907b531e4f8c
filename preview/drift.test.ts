import { expect, test } from "vitest";

import { driftNotes, driftSentence, stillDeployed, withoutRefresh } from "./drift";

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
  const text = withoutRefresh(refresh, [{ type: container, name: "registrator-local" }]);
  expect(text.split("\n").slice(0, 5)).toEqual([
    "Previewing update (dev):",
    `"registrator-local" (${container}) no longer exists: something else deleted it.`,
    "  pulumi:pulumi:Stack: (same)",
    "    [urn=urn:pulumi:dev::switchyard::pulumi:pulumi:Stack::switchyard-dev]",
    "@ previewing update....",
  ]);
  expect(text).toContain(plan);
  expect(text).not.toContain("(refresh)");
});

test("a preview that finds nothing is left as it is", () => {
  expect(withoutRefresh(`Previewing update (dev):\n${plan}\n`, [])).toBe(
    `Previewing update (dev):\n${plan}\n`,
  );
  expect(driftSentence([])).toBeUndefined();
});

test("a value of several lines hides nothing", () => {
  const changes = `  pulumi:pulumi:Stack: (same)
    [urn=urn:pulumi:dev::switchyard::pulumi:pulumi:Stack::switchyard-dev]
    ~ ${service}: (update)
        [urn=${urn(service, "time")}]
      ~ env : {
          ~ NOTE:
              - one
              + two
                ~ a:b:C: (refresh)
                    [urn=${urn(container, "rest-local")}]
        }
      - limits: {}
Resources:
    ~ 1 to update`;
  expect(withoutRefresh(`Previewing update (dev):\n~ a:b:C: (refresh)\n    [urn=x]\n${changes}`, [])).toBe(
    `Previewing update (dev):\n${changes}`,
  );
});

test("services that something else changed are named", () => {
  const stack = (replicas: number) => ({
    services: [{ name: "time", type: "rest" as const, replicas, runs: "build hello" }],
    ports: {},
  });
  const updated = [
    { name: "time", properties: ["env", "replicas", "limits"] },
    { name: "new", properties: ["replicas"] },
  ];
  expect(driftNotes(stack(2), stack(2), updated)).toEqual([
    "Something else changed time (replicas, limits), which up changes back.",
  ]);
  expect(driftNotes(stack(2), stack(3), [{ name: "time", properties: ["replicas"] }])).toEqual([]);
});

test("routes of services that are gone are compared as new", () => {
  const stack = {
    services: [
      { name: "time", type: "rest" as const, replicas: 1, runs: "build hello" },
      { name: "time-22", type: "tcp" as const, replicas: 1, runs: "port 22 of time" },
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
    "Something else removed consul-local: what starts or stops there is not registered until up creates it again.",
  ]);
  expect(driftSentence(gone)).toBe(
    "Something else removed 3 resources, which up creates again: SwarmService time, RollingContainer rest-local, Container consul-local",
  );
});
