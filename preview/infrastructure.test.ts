import { expect, test } from "vitest";

import { readPlan } from "./infrastructure";
import { missingAfter, missingBefore, missingPassphrase } from "./missing";

const urn = (type: string, name: string) =>
  `urn:pulumi:dev::switchyard::switchyard:index:Service$${type}::${name}`;
const service = "pulumi-nodejs:dynamic/switchyard:SwarmService";

test("the Pulumi CLI's JSON is read, of properties their names alone", () => {
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

test("the embedded engine's JSON is read alike", () => {
  const steps = [{ operation: "update", urn: urn(service, "a"), diff: { replicas: { old: 1, new: 2 } } }];
  expect(readPlan(JSON.stringify({ steps, changeSummary: { update: 1 } }))).toMatchObject({
    steps: [{ operation: "update", name: "a", properties: ["replicas"] }],
  });
});

test("what an engine complains of is found in its JSON; what is no JSON is none", () => {
  const diagnostics = [
    { severity: "warning", message: "never mind" },
    { severity: "error", message: "it is broken\n" },
  ];
  expect(readPlan(JSON.stringify({ diagnostics }))).toMatchObject({ problem: "it is broken" });
  expect(readPlan("error: not even JSON")).toBeUndefined();
});

const options = { engine: "embedded", stack: "dev" } as const;
const nowhere = "unix:///nowhere/docker.sock";
const local = { target: "local", dockerHost: nowhere } as const;
const deployed = { kind: "never", inBackend: false } as const;

test("a missing Docker Engine is named", async () => {
  const situation = { options, config: local, deployed, stackFile: "", env: {} };
  expect(await missingBefore(situation)).toEqual([`a Docker Engine at ${nowhere}: start it`]);
});

test("a missing passphrase is named with the file that has the secrets", () => {
  const file = { PULUMI_CONFIG_PASSPHRASE_FILE: "/nowhere/passphrase" };
  const missing = (stackFile: string, env: Record<string, string>) =>
    missingPassphrase({ options, config: local, stackFile, env });
  const salted = "config: {}\nencryptionsalt: v1:abc\n";
  expect(missing(salted, file)[0]).toMatch(/passphrase of the secrets in Pulumi\.dev\.yaml: put it into/);
  expect(missing(salted, { ...file, PULUMI_CONFIG_PASSPHRASE: "x" })).toEqual([]);
  expect(missing("config: {}\n", file)).toEqual([]);
  const own = { ...file, PULUMI_BACKEND_URL: `file://${process.cwd()}/.switchyard/pulumi` };
  expect(missing("config:\n  a:\n    secure: AAA\n", own)[0]).toMatch(/backend that encrypted the secrets/);
  expect(missing("config:\n  a:\n    secure: AAA\n", { PULUMI_ACCESS_TOKEN: "x" })).toEqual([]);
});

test("credentials that are there do not explain a failure", () => {
  const aws = { target: "aws" as "local", dockerHost: nowhere };
  expect(missingAfter({ config: aws, env: { AWS_PROFILE: "x" } })).toEqual([]);
  expect(missingAfter({ config: local, env: {} })).toEqual([]);
});
