import { expect, test } from "vitest";
import { ok, refuse } from "../../../../routing/grammar";
import { HttpClient } from "../../../../lib/http";
import { serve } from "../../../../lib/testing";
import { servicesIn, withTasks } from "../swarm/services";
import { dockerService, serviceId } from "../swarm/testing";
import { outOfMemoryOn, processorsOf, updateSeen, updateUsage, usesOn, type UsageBoard } from "./board";
import { coresBetween, endOf, Meter, workingSet } from "./measure";
import { measuredIn } from "./publish";

const task = "t".repeat(25);
const usage = (sequence: number, cores: number) =>
  ok({
    sequence,
    tasks: new Map([[task, { service: serviceId, ageSeconds: 60, cores, memoryBytes: 5_000 }]]),
    outOfMemory: new Map([[serviceId, sequence]]),
  });
const service = (limit?: number) => {
  const spec = { TaskTemplate: { Resources: { Limits: { NanoCPUs: (limit ?? 0) * 1e9 } } } };
  const tasks = [
    { id: task, state: "running" },
    { id: "new", state: "running" },
    { id: "p", state: "pending" },
  ];
  const [first] = withTasks(
    servicesIn([dockerService(limit === undefined ? {} : { spec })]),
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

test("what instances use, and that they ran out of memory, is known while it is fresh", () => {
  const values = new Map([
    ["n1", usage(1, 0.5)],
    ["n2", usage(2, 0.25)],
  ]);
  const board = updateUsage(new Map(), values, 0);
  expect([...(usesOn(board, 11_999).get(serviceId) ?? [])]).toEqual([[task, { cores: 0.25, memoryBytes: 5_000 }]]);
  expect(outOfMemoryOn(board, 11_999)).toEqual(new Map([[serviceId, 2]]));
  expect([usesOn(board, 12_000).size, outOfMemoryOn(board, 12_000).size]).toEqual([0, 0]);
}); // prettier-ignore

test("memory is counted without files that were not used lately", () => {
  const stats = { inactive_file: 10, total_inactive_file: 30 };
  expect(workingSet({ usage: 100, stats: { inactive_file: 10 } })).toBe(90);
  expect(workingSet({ usage: 100, stats })).toBe(70);
  expect(workingSet({ usage: 5, stats })).toBe(0);
  expect([workingSet({}), workingSet(undefined)]).toEqual([undefined, undefined]);
});

test("only a container that ended above its limit ran out of memory", () => {
  const end = (state: object, memory = 64) =>
    endOf({ State: { Running: false, FinishedAt: "2026-11-29T09:00:00Z", ...state }, HostConfig: { Memory: memory } })
      ?.outOfMemoryBytes;
  expect(end({ OOMKilled: true })).toBe(64);
  expect([end({ OOMKilled: false }), end({ OOMKilled: true }, 0), end({ OOMKilled: true, Running: true })]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
}); // prettier-ignore

test("cores are the processor time between two readings", () => {
  const reading = (usedNs: number, atMs: number) => ({ usedNs, atMs, memoryBytes: undefined });
  const before = reading(1e9, 1_000);
  expect(coresBetween(before, reading(3e9, 5_000))).toBe(0.5);
  expect(coresBetween(undefined, before)).toBeUndefined();
  // A container that was started again begins at 0.
  expect(coresBetween(before, reading(1e6, 5_000))).toBeUndefined();
  expect(coresBetween(before, before)).toBeUndefined();
});

test("a node's containers of the services in question are measured, from the second time on", async () => {
  let used = 1e9;
  let second = 10;
  const asked: string[] = [];
  const endpoint = await serve((request, response) => {
    const labels = (id: string) => ({
      "com.docker.swarm.service.id": id,
      "com.docker.swarm.task.id": task,
    });
    const list = [
      { Id: "a", Created: 0, Labels: labels(serviceId), State: "running" },
      { Id: "b", Created: 0, Labels: labels("other"), State: "running" },
      { Id: "c", Created: 0, Labels: null, State: "running" },
      { Id: "d", Created: 0, Labels: labels(serviceId), State: "exited" },
      { Id: "e", Created: 0, Labels: labels(serviceId), State: "exited" },
    ];
    const stats = {
      read: new Date(second * 1_000).toISOString(),
      cpu_stats: { cpu_usage: { total_usage: used } },
      memory_stats: { usage: 100, stats: { inactive_file: 10 } },
    };
    const FinishedAt = new Date(Date.now() - (request.url?.includes("/d/") === true ? 0 : 61_000)).toISOString();
    const ended = { State: { Running: false, OOMKilled: true, FinishedAt }, HostConfig: { Memory: 64 } };
    const [, path = ""] = /^\/containers\/(?:[a-z]\/)?([a-z]+)/.exec(request.url ?? "") ?? [];
    if (path === "json") asked.push(request.url ?? "");
    const isList = request.url?.startsWith("/containers/json") === true;
    response.end(JSON.stringify(isList ? list : path === "json" ? ended : stats));
  }); // prettier-ignore
  const meter = new Meter(new HttpClient(endpoint));
  const services = measuredIn(`${serviceId}\nnonsense`);
  const first = await meter.measure(services);
  expect([first.tasks.size, first.outOfMemory]).toEqual([0, new Map([[serviceId, 64]])]);
  [used, second] = [3e9, 14];
  const { tasks } = await meter.measure(services);
  expect([...tasks]).toEqual([[task, { service: serviceId, ageSeconds: 14, cores: 0.5, memoryBytes: 90 }]]);
  // Each container that has ended is asked about once.
  expect(asked.filter((url) => !url.startsWith("/containers/json"))).toEqual([
    "/containers/d/json",
    "/containers/e/json",
  ]);
});
