import { expect, test } from "vitest";
import { ok, refuse } from "../../../../routing/grammar";
import { HttpClient } from "../../../../lib/http";
import { serve } from "../../../../lib/testing";
import { scaledServices, withTasks } from "../swarm/services";
import { dockerService, serviceId } from "../swarm/testing";
import { processorsOf, updateSeen, updateUsage, type UsageBoard } from "./board";
import { coresBetween, Meter } from "./measure";
import { measuredIn } from "./publish";

const task = "t".repeat(25);
const usage = (sequence: number, cores: number) =>
  ok({ sequence, tasks: new Map([[task, { ageSeconds: 60, cores }]]) });
const service = (limit?: number) => {
  const spec = { TaskTemplate: { Resources: { Limits: { NanoCPUs: (limit ?? 0) * 1e9 } } } };
  const tasks = [
    { id: task, state: "running" },
    { id: "new", state: "running" },
    { id: "p", state: "pending" },
  ];
  const [first] = withTasks(
    scaledServices([dockerService(limit === undefined ? {} : { spec })]),
    tasks.map((each) => ({ ...each, service: serviceId, reserved: { nanoCores: 0, bytes: 0 } })),
  );
  if (first === undefined) throw new Error("no service");
  return first;
};

test("the use of an instance is a share of its limit, or of one core", () => {
  const board = updateUsage(new Map(), new Map([["n1", usage(1, 0.5)]]), 1_000);
  const seen = updateSeen(new Map(), [service()], 900);
  expect(processorsOf(service(), board, seen, 2_000)).toEqual([
    { startedMs: 1_000 - 60_000, use: 0.5 },
    { startedMs: 900, use: undefined },
  ]);
  expect(processorsOf(service(2), board, seen, 2_000)[0]?.use).toBe(0.25);
});

test("a node that is silent, or writes nonsense, makes its instances' use unknown after a while", () => {
  let board: UsageBoard = updateUsage(new Map(), new Map([["n1", usage(1, 0.5)]]), 0);
  for (const value of [usage(1, 0.5), refuse("is broken")]) {
    board = updateUsage(board, new Map([["n1", value]]), 11_999);
    expect(processorsOf(service(), board, new Map(), 11_999)[0]?.use).toBe(0.5);
    expect(processorsOf(service(), board, new Map(), 12_000)[0]?.use).toBeUndefined();
  }
  expect(updateUsage(board, new Map(), 0).size).toBe(0);
});

test("cores are the processor time between two readings", () => {
  const before = { usedNs: 1e9, atMs: 1_000 };
  expect(coresBetween(before, { usedNs: 3e9, atMs: 5_000 })).toBe(0.5);
  expect(coresBetween(undefined, before)).toBeUndefined();
  // A container that was started again begins at 0.
  expect(coresBetween(before, { usedNs: 1e6, atMs: 5_000 })).toBeUndefined();
  expect(coresBetween(before, before)).toBeUndefined();
});

test("a node's containers of the services in question are measured, from the second time on", async () => {
  let used = 1e9;
  let second = 10;
  const endpoint = await serve((request, response) => {
    const labels = (id: string) => ({
      "com.docker.swarm.service.id": id,
      "com.docker.swarm.task.id": task,
    });
    const list = [
      { Id: "a", Created: 0, Labels: labels(serviceId) },
      { Id: "b", Created: 0, Labels: labels("other") },
      { Id: "c", Created: 0, Labels: null },
    ];
    const stats = {
      read: new Date(second * 1_000).toISOString(),
      cpu_stats: { cpu_usage: { total_usage: used } },
    };
    response.end(JSON.stringify(request.url?.startsWith("/containers/json") === true ? list : stats));
  });
  const meter = new Meter(new HttpClient(endpoint));
  const services = measuredIn(`${serviceId}\nnonsense`);
  expect((await meter.measure(services)).size).toBe(0);
  [used, second] = [3e9, 14];
  expect([...(await meter.measure(services))]).toEqual([[task, { ageSeconds: 14, cores: 0.5 }]]);
});
