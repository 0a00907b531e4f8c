import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";

import { afterAll, beforeAll, expect, test } from "vitest";

import { baseImage } from "./bases";
import { claimEngine, docker, lines, removeContainers } from "./docker";
import { killAll, processesWith } from "./processes";
import { removeStacks } from "./setup";
import { afterwards, tearDown } from "./tear-down";

// What a killed run leaves is removed before the next one; what a developer has on the same engine stays.

/** The image without the tests' label: what a developer's own containers are made of. */
const [, developersImage = ""] = /^baseImage (.*)$/m.exec(readFileSync(".switchyard/bases", "utf8")) ?? [];

async function sleeper(name: string, image: string, ...flags: string[]): Promise<void> {
  await docker("run", "-d", "--name", name, ...flags, image, "sleep", "600");
  afterwards(() => removeContainers(name));
}
const containers = async () => lines(await docker("ps", "-a", "--format", "{{.Names}}"));
const volumes = async () => lines(await docker("volume", "ls", "-q"));

beforeAll(async () => {
  await claimEngine();
  afterwards(removeStacks);
});
afterAll(tearDown);

test("containers of the tests and volumes of their stack go, a developer's stay", async () => {
  await docker("volume", "create", "rest-state");
  await docker("volume", "create", "e2e-developers");
  afterwards(() => docker("volume", "rm", "e2e-developers"));
  await sleeper("e2e-left", baseImage, "-v", "rest-state:/state");
  await docker("pause", "e2e-left");
  await docker("create", "--name", "e2e-left-too", baseImage);
  await sleeper("e2e-developers", developersImage, "-v", "e2e-developers:/data", "-v", "consul-data:/more");

  expect((await removeStacks()).sort()).toEqual(["e2e-left", "e2e-left-too", "rest-state"]);

  const left = await containers();
  expect(left).toContain("e2e-developers");
  expect(left.filter((name) => name.startsWith("e2e-left"))).toEqual([]);
  expect(await volumes()).toEqual(expect.arrayContaining(["consul-data", "e2e-developers"]));
  expect(await volumes()).not.toContain("rest-state");

  await removeContainers("e2e-developers");
  await docker("volume", "rm", "consul-data");
});

test("an engine with a stack, or with its data, is not claimed", async () => {
  await docker("volume", "create", "consul-data");
  try {
    await expect(claimEngine()).rejects.toThrow(
      /already on this Docker Engine \(consul-data\).*script\/down/,
    );
    // Unclaimed, the data is a developer's.
    expect(await removeStacks()).toEqual([]);
    expect(await volumes()).toContain("consul-data");
  } finally {
    await docker("volume", "rm", "consul-data");
  }
});

test("processes that outlived their run are found by their environment", async () => {
  const start = (env: NodeJS.ProcessEnv) => {
    const child = spawn("sleep", ["600"], { env: { ...process.env, ...env }, detached: true });
    afterwards(() => child.kill("SIGKILL"));
    return child;
  };
  const ours = start({ E2E_SETUP_TEST: "1" });
  const theirs = start({ E2E_SETUP_TEST: "10" });
  const ended = once(ours, "exit");
  expect(await killAll(() => processesWith("E2E_SETUP_TEST=1"))).toEqual([String(ours.pid)]);
  expect(await ended).toEqual([null, "SIGKILL"]);
  expect(theirs.exitCode ?? theirs.signalCode).toBeNull();
});
