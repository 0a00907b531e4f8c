import { expect, test } from "vitest";

import { complaintOf, readPlan, readSteps, replacedBalancers } from "./infrastructure";
import { missingAfter, missingBefore, missingPassphrase } from "./missing";

const urn = (type: string, name: string) =>
  `urn:pulumi:dev::switchyard::switchyard:index:Service$${type}::${name}`;
const service = "pulumi-nodejs:dynamic/switchyard:SwarmService";

test("reads the Pulumi CLI's JSON, but only the names of properties", () => {
  const inputs = { name: "a", replicas: 2, env: { TOKEN: "not to be shown" } };
  const plan = readPlan(
    JSON.stringify({
      steps: [
        { op: "same", urn: urn(service, "b") },
        {
          op: "update",
          urn: urn(service, "a"),
          oldState: { inputs },
          newState: { inputs: { ...inputs, replicas: 3, limits: { cpus: 1 } } },
        },
        { op: "replace", urn: urn("docker:index/container:Container", "rest"), diffReasons: ["command"] },
      ],
      changeSummary: { same: 1, update: 1, replace: 1 },
    }),
  );
  expect(plan).toEqual({
    changes: { same: 1, update: 1, replace: 1 },
    gone: [],
    steps: [
      {
        operation: "update",
        urn: urn(service, "a"),
        type: service,
        name: "a",
        properties: ["limits", "replicas"],
      },
      {
        operation: "replace",
        urn: urn("docker:index/container:Container", "rest"),
        type: "docker:index/container:Container",
        name: "rest",
        properties: ["command"],
      },
    ],
  });
});

test("reads the embedded engine's JSON", () => {
  const steps = [{ operation: "update", urn: urn(service, "a"), diff: { replicas: { old: 1, new: 2 } } }];
  expect(readPlan(JSON.stringify({ steps, changeSummary: { update: 1 } }))).toMatchObject({
    steps: [{ operation: "update", name: "a", properties: ["replicas"] }],
  });
});

test("finds errors in an engine's JSON, and ignores output that is not JSON", () => {
  const diagnostics = [
    { severity: "warning", message: "never mind" },
    { severity: "error", message: "it is broken\n" },
  ];
  expect(readPlan(JSON.stringify({ diagnostics }))).toMatchObject({ problem: "it is broken" });
  expect(readPlan("error: not even JSON")).toBeUndefined();
});

const rolling = "pulumi-nodejs:dynamic/switchyard:RollingContainer";
const shortRolling = "pulumi-nodejs:RollingContainer";

test.each([
  [
    "the Pulumi CLI",
    `    ~ ${rolling}: (update)
        [id=rest]
        [urn=${urn(rolling, "rest-local")}]
        host : "unix:///var/run/docker.sock"
      ~ image: "switchyard/haproxy:1" => "switchyard/haproxy:2"
    ~ ${rolling}: (update)
        [id=rest]
        [urn=${urn(rolling, "rest-moved")}]
      ~ host : "ssh://a" => "ssh://b"
    +-docker:index/container:Container: (replace)
        [urn=${urn("docker:index/container:Container", "registrator-local")}]
      ~ image: "switchyard/registrator:1" => "switchyard/registrator:2"
    + ${rolling}: (create)
        [urn=${urn(rolling, "rest-new")}]
    + ${rolling}: (create)
        [urn=${urn(rolling, "rest-old")}]
    - docker:index/container:Container: (delete)
        [id=0123]
        [urn=${urn("docker:index/container:Container", "rest-old")}]`,
  ],
  [
    "the embedded engine",
    ` ~  ${shortRolling} rest-local update [diff: image]
        image: switchyard/haproxy:1 => switchyard/haproxy:2
 ~  ${shortRolling} rest-moved update [diff: host]
 +- docker:Container registrator-local replace [diff: image]
 +  ${shortRolling} rest-new create
 +  ${shortRolling} rest-old create
 -  docker:Container rest-old delete`,
  ],
])("finds replaced load balancers in the text of %s", (_, text) => {
  expect(replacedBalancers(readSteps(text))).toEqual([
    { node: "local", pauses: false },
    { node: "old", pauses: true },
  ]);
});

test("a failed preview is its errors, without what the engine says beside them", () => {
  const plan = "Previewing update (dev):\n+ pulumi:pulumi:Stack: (create)\nResources:\n    + 1 to create\n";
  const warning = "warning: using pulumi-resource-docker from $PATH at /opt/pulumi-resource-docker\n";
  const embedded = "The embedded engine is in use instead of the Pulumi CLI: stack dev, state in dev.json\n";
  const errors = "error: the image is :latest\n  - use a version\nerror: another\n";
  expect(complaintOf({ stderr: warning + errors, stdout: plan })).toBe(errors.trim());
  expect(complaintOf({ stderr: embedded + errors, stdout: "" })).toBe(errors.trim());
  expect(complaintOf({ stderr: `${warning}killed\n`, stdout: plan })).toBe(`killed\n\n${plan}`.trim());
});

const options = { engine: "embedded", stack: "dev" } as const;
const nowhere = "unix:///nowhere/docker.sock";
const local = { target: "local", dockerHost: nowhere } as const;
const deployed = { kind: "never", inBackend: false } as const;

test("reports a missing Docker Engine", async () => {
  const situation = { options, config: local, deployed, stackFile: "", env: {} };
  expect(await missingBefore(situation)).toEqual([`a Docker Engine at ${nowhere}: start it`]);
});

test("reports a missing passphrase with the file that needs it", () => {
  const file = { PULUMI_CONFIG_PASSPHRASE_FILE: "/nowhere/passphrase" };
  const missing = (stackFile: string, env: Record<string, string>) =>
    missingPassphrase({ options, config: local, stackFile, env });
  const salted = "config: {}\nencryptionsalt: v1:abc\n";
  expect(missing(salted, file)[0]).toMatch(/passphrase of the secrets in Pulumi\.dev\.yaml: put it into/);
  expect(missing(salted, { ...file, PULUMI_CONFIG_PASSPHRASE: "x" })).toEqual([]);
  expect(missing("config: {}\n", file)).toEqual([]);
  const own = { ...file, PULUMI_BACKEND_URL: `file://${process.cwd()}/.switchyard/pulumi` };
  expect(missing("config:\n  a:\n    secure: AAA\n", own)[0]).toMatch(
    /^the Pulumi backend that encrypted the secrets in Pulumi\.dev\.yaml: set/,
  );
  expect(missing("config:\n  a:\n    secure: AAA\n", { PULUMI_ACCESS_TOKEN: "x" })).toEqual([]);
});

test("does not blame a failure on credentials that exist", () => {
  const aws = { target: "aws" as "local", dockerHost: nowhere };
  expect(missingAfter({ config: aws, env: { AWS_PROFILE: "x" } })).toEqual([]);
  expect(missingAfter({ config: local, env: {} })).toEqual([]);
});
