import { expect, test } from "vitest";
import { describeRun, readJobStatus, readRun, type JobRun, type JobStatus } from "./status";

const failed: JobRun = {
  result: "failed",
  due: "2026-11-29T03:00:00.000Z",
  start: "2026-11-29T03:00:01.000Z",
  end: "2026-11-29T03:00:08.100Z",
  exitCode: 3,
};
const status: JobStatus = {
  name: "shop/report",
  swarmName: "shop-report",
  schedule: "0 3 * * *",
  next: "2026-11-30T03:00:00.000Z",
  runs: [failed, { result: "missed", due: "2026-11-29T03:00:00.000Z", reason: "too late" }],
};

test("a status is read as it was written, without fields of others", () => {
  expect(readJobStatus(JSON.parse(JSON.stringify({ ...status, other: 1 })))).toEqual(status);
});

test.each<object>([
  { name: 7 },
  { runs: [{ ...failed, result: "<script>" }] },
  { runs: [{ ...failed, start: "yesterday" }] },
  { runs: [{ ...failed, start: "2026-99-99T03:00:00.000Z" }] },
  { runs: [{ ...failed, exitCode: "3" }] },
  { runs: Array.from({ length: 11 }, () => failed) },
  { next: 5 },
  { problem: "x".repeat(1_001) },
])("%j is refused", (more) => {
  expect(readJobStatus({ ...status, ...more })).toBeUndefined();
});

test.each<[JobRun, string]>([
  [failed, "failed with exit code 3 at 2026-11-29 03:00:08, after 7 s"],
  [{ result: "succeeded", start: "2026-11-29T03:00:01.000Z", end: "2026-11-29T03:00:01.200Z", exitCode: 0 }, "succeeded at 2026-11-29 03:00:01, after 0 s, by hand"],
  [{ result: "missed", due: "2026-11-29T03:00:00.000Z", reason: "too late" }, "missed at 2026-11-29 03:00:00: too late"],
])("%j is described", (run, text) => {
  expect(describeRun(run)).toBe(text);
}); // prettier-ignore

test("what is no mapping is no run", () => {
  expect([null, 1, [], {}].map(readRun)).toEqual([undefined, undefined, undefined, undefined]);
});
