import { afterAll, beforeAll, expect, test } from "vitest";

import { claimEngineUntilRemoved, docker, lines } from "../e2e/docker";
import { stack, succeeded } from "../e2e/stack";
import { afterwards, tearDown } from "../e2e/tear-down";
import { configure, expectTidy, folderFor, inside, notes } from "./backups";

// What else starts services has to wait while a restore exchanges their data.

const stubborn = {
  ...notes,
  // Its stop lasts over a full minute, when the job is due.
  command: ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"],
  stopGracePeriodSeconds: 55,
};
const job = {
  name: "minutely",
  image: notes.image,
  command: ["sh", "-c", "date +%s >>/data/runs"],
  schedule: "* * * * *",
  volumes: notes.volumes,
};

beforeAll(async () => {
  await claimEngineUntilRemoved(() => stack.remove());
  afterwards(() => stack.down("--volumes"));
  await configure(stubborn, job);
  succeeded(await stack.up());
});

afterAll(tearDown);

/** When the runs of the job were started. */
async function starts(): Promise<number[]> {
  const tasks = lines(await docker("service", "ps", "-q", "--no-trunc", "minutely"));
  if (tasks.length === 0) return [];
  return lines(await docker("inspect", "-f", "{{json .CreatedAt}}", ...tasks)).map((time) =>
    Date.parse(JSON.parse(time) as string),
  );
}

test("a job, script/run and script/up wait for the end of the exchange", async () => {
  const path = await folderFor("e2e-backups");
  await inside("notes", "sh", "-c", "echo kept >/data/log");
  succeeded(await stack.backup("notes", path));
  const restore = stack.restore("notes", path, "--yes");
  const of = (service: string, what: string) => docker("service", "inspect", "-f", what, service);
  await expect.poll(() => of("notes", "{{.Spec.Mode.Replicated.Replicas}}"), { timeout: 120_000 }).toBe("0");
  const stoppedMs = Date.now();
  expect(await of("minutely", "{{json .Spec.Labels}}")).toContain("switchyard.hold");
  expect(await stack.run("minutely")).toMatchObject({
    code: 1,
    output: expect.stringContaining("script/restore is exchanging the data that minutely uses") as string,
  });
  await configure({ ...stubborn, ...{ env: { CHANGED: "1" } } }, job);
  const { output } = succeeded(await stack.up());
  expect(output).toContain("script/restore is exchanging the data of notes: it is changed afterwards");
  succeeded(await restore);
  const endedMs = Date.now();
  expect(await inside("notes", "cat", "/data/log")).toBe("kept");
  await expectTidy("e2e_notes", "notes");
  expect(endedMs - stoppedMs).toBeGreaterThan(50_000);
  expect((await starts()).filter((ms) => ms > stoppedMs && ms < stoppedMs + 50_000)).toEqual([]);
  await expect
    .poll(async () => Math.max(...(await starts())), { timeout: 150_000 })
    .toBeGreaterThan(stoppedMs);
});
