import { expect, test } from "vitest";
import type { ScalingStatus } from "../../../../routing/scaling/status";
import { History } from "../leader/history";
import { reply } from "./server";
import type { View } from "./view";

const service = {
  name: "hello/v1",
  swarmName: "hello-v1",
  min: 1,
  max: 9,
  replicas: 2,
  ready: 1,
  wish: 3,
  reason: "",
  asleep: false,
  waiting: 0,
  changes: [],
};
const limits = {
  name: "hello/v1",
  swarmName: "hello-v1",
  memory: { current: 2 ** 27, target: 2 ** 26, lower: 2 ** 25, upper: 2 ** 28, auto: true },
};
const status: ScalingStatus = {
  node: "n1",
  dry: false,
  at: "",
  services: [service],
  limits: [limits],
  nodesWanted: 1,
};
const view = (more: Partial<View> = {}): View => ({
  node: "n1",
  dry: false,
  isLeading: true,
  leader: "n1",
  problem: undefined,
  tickSeconds: 0.02,
  failures: 0,
  status,
  history: new History(),
  ...more,
});

test("/ready says why it is not", () => {
  expect(reply("GET", "/ready", view()).status).toBe(200);
  const { status: code, body } = reply("GET", "/ready", view({ problem: "No cluster leader" }));
  expect([code, body]).toEqual([503, expect.stringContaining('"why": "No cluster leader"')]);
});

test("/status has the decisions of the one that decides", () => {
  expect(JSON.parse(reply("GET", "/status", view()).body)).toMatchObject({ isLeading: true, status });
  const other = JSON.parse(reply("GET", "/status", view({ isLeading: false, leader: "n2" })).body) as object;
  expect(other).toEqual({ node: "n1", dry: false, isLeading: false, leader: "n2" });
});

test("/metrics tells of each service, and of turns", () => {
  const history = new History();
  const decision = (from: number, to: number) =>
    ({ kind: "up", from, to, wish: to, panic: false, basis: { kind: "asleep" }, limits: [] }) as const;
  for (const [from, to] of [
    [1, 2],
    [2, 3],
    [3, 2],
    [2, 3],
  ] as const)
    // prettier-ignore
    history.changed("hello/v1", decision(from, to), new Date());
  const { body } = reply("GET", "/metrics", view({ history }));
  expect(body).toContain("switchyard_autoscaler_leader 1\n");
  expect(body).toContain("switchyard_autoscaler_nodes_wanted 1\n");
  expect(body).toContain('switchyard_autoscaler_service_replicas{service="hello/v1"} 2\n');
  expect(body).toContain('switchyard_autoscaler_service_ups_total{service="hello/v1"} 3\n');
  expect(body).toContain('switchyard_autoscaler_service_turns_total{service="hello/v1"} 2\n');
  expect(body).toContain(
    'switchyard_autoscaler_service_memory_recommended_bytes{service="hello/v1"} 67108864\n',
  );
  expect(body).not.toContain("cpus_recommended{");
  expect(reply("GET", "/metrics", view({ isLeading: false })).body).not.toContain("hello/v1");
});

test("/metrics tells of each job", () => {
  const ended = "2026-11-29T03:00:08.000Z";
  const run = { start: ended, end: ended };
  const job = (name: string, more: object) => ({
    name,
    swarmName: name,
    schedule: "0 3 * * *",
    runs: [],
    ...more,
  });
  const jobs = [
    job("new", {}),
    job("good", { lastSuccess: ended, runs: [{ ...run, result: "succeeded", exitCode: 0 }] }),
    job("bad", { lastSuccess: ended, running: ended, runs: [{ ...run, result: "failed", exitCode: 3 }] }),
    job("late", { runs: [{ ...run, result: "ended" }] }),
  ] as const;
  const { body } = reply("GET", "/metrics", view({ status: { ...status, jobs } }));
  const values = (name: string) =>
    [...body.matchAll(new RegExp(`switchyard_autoscaler_job_${name}{job="\\w+"} (\\S+)`, "g"))].map(([, value]) => Number(value)); // prettier-ignore
  expect(values("running")).toEqual([0, 0, 1, 0]);
  expect(values("last_success_timestamp_seconds")).toEqual([0, 1_795_921_208, 1_795_921_208, 0]);
  expect(values("last_exit_code")).toEqual([0, 0, 3, -1]);
  expect(values("problem")).toEqual([0, 0, 1, 1]);
});

test("nothing else is answered", () => {
  expect(reply("POST", "/status", view()).status).toBe(405);
  expect(reply("GET", "/status/", view()).status).toBe(404);
});
