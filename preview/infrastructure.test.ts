import { expect, test } from "vitest";

import { complaintOf, replacedBalancers, replacedRegistration, unreachableIn } from "./infrastructure";
import { missingAfter, missingBefore, missingPassphrase } from "./missing";

test("finds replaced load balancers among the steps", () => {
  const rolling = "pulumi-nodejs:dynamic/switchyard:RollingContainer";
  const container = "docker:index/container:Container";
  const steps = [
    ["update", rolling, "rest-local", ["image"]],
    ["update", rolling, "rest-moved", ["host"]],
    ["replace", container, "registrator-local", ["image"]],
    ["create", rolling, "rest-new", []],
    // An earlier version made a container that does not roll.
    ["create", rolling, "rest-old", []],
    ["delete", container, "rest-old", []],
  ] as const;
  const planned = steps.map(([operation, type, name, properties]) => ({ operation, type, name, properties }));
  expect(replacedBalancers(planned)).toEqual([
    { node: "local", pauses: false },
    { node: "old", pauses: true },
  ]);
  expect(replacedRegistration(planned)).toEqual(["registrator-local"]);
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

test.each([
  [
    "error: Preview failed: Docker at ssh://me@a did not answer within 60 s (ssh: no route)\nerror: preview failed\n",
    "Docker at ssh://me@a did not answer within 60 s (ssh: no route)",
  ],
  [
    "error: Preview failed: docker native provider returned an unexpected error from Configure: failed to connect to any docker daemon\n",
    "failed to connect to any docker daemon",
  ],
  [
    "  ssh: connect to host a port 22: Permission denied\n",
    "ssh: connect to host a port 22: Permission denied",
  ],
  ["error: connect ECONNREFUSED 192.0.2.1:2376\n", "connect ECONNREFUSED 192.0.2.1:2376"],
  ["error: Running program failed: a policy is broken\nerror: preview failed\n", undefined],
])("only an engine that cannot be reached is a reason to compare with the state", (stderr, reason) => {
  expect(unreachableIn(stderr)).toBe(reason);
});
