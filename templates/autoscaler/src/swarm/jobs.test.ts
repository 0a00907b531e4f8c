import { describe, expect, test } from "vitest";
import { endRun, jobsIn, readEnd, readStart, startRun, withAttempts } from "./jobs";
import { relimit } from "./relimit";
import { rescale } from "./rescale";
import { dockerService, serviceId } from "./testing";

const labels = { "switchyard.owner": "a/b", "switchyard.schedule": "0 3 * * *" };
const due = "2026-11-29T03:00:00.000Z";
const template = {
  ForceUpdate: 4,
  RestartPolicy: { Condition: "none" },
  ContainerSpec: { Image: "shop:1", Env: ["SECRET=1"], Labels: { SERVICE_NAME: "shop/report" } },
};
const report = (more: object = {}) =>
  dockerService({
    labels,
    replicas: 1,
    spec: { Name: "shop-report", TaskTemplate: template, ...more },
    CreatedAt: "2026-11-01T10:00:00.123456789Z",
  });

test("of a job, the socket tells what its schedule needs, and nothing of what it runs", () => {
  const task = (id: string, run: number, State: string, more: object = {}) => ({
    ID: id,
    ServiceID: serviceId,
    CreatedAt: "2026-11-29T03:00:00.987654321Z",
    Spec: { ForceUpdate: run, ContainerSpec: { Env: ["SECRET=1"] } },
    Status: { State, Timestamp: "2026-11-29T03:00:09Z", ...more },
  });
  const failed = { Err: "task: non-zero exit (3)", ContainerStatus: { ExitCode: 3 } };
  const [job, ...others] = withAttempts(jobsIn([dockerService(), report()]), [
    task("a", 3, "complete"),
    task("b", 4, "failed", failed),
    { ...task("c", 4, "running"), ServiceID: "another" },
  ]);
  expect(others).toEqual([]);
  expect(job).toEqual({
    id: serviceId,
    version: 12,
    swarmName: "shop-report",
    name: "shop/report",
    labels,
    createdAt: "2026-11-01T10:00:00.123Z",
    run: 4,
    started: true,
    retries: false,
    attempts: [
      {
        state: "failed",
        createdAt: "2026-11-29T03:00:00.987Z",
        changedAt: "2026-11-29T03:00:09.000Z",
        exitCode: 3,
        error: "task: non-zero exit (3)",
      },
    ],
  });
});

describe("a start", () => {
  test("asks for the next task, and leaves everything else as it is", () => {
    const before = report({ Mode: { Replicated: { Replicas: 0 } } });
    const result = startRun(before, { version: 12, due });
    const spec = before["Spec"] as object;
    expect(result).toEqual({
      ok: true,
      spec: {
        ...spec,
        Labels: { ...labels, "switchyard.run": due },
        Mode: { Replicated: { Replicas: 1 } },
        TaskTemplate: { ...template, ForceUpdate: 5 },
      },
    });
  });

  test.each<[string, unknown, number, string]>([
    ["no job", dockerService(), 403, "no schedule"],
    ["a service that has changed", report({}), 409, "changed meanwhile"],
    [
      "a job that a restore holds",
      report({ Labels: { ...labels, "switchyard.hold": "2100-01-01T00:00:00.000Z" } }),
      409,
      "script/restore is exchanging",
    ],
    ["a global service", report({ Mode: { Global: {} } }), 403, "not replicated"],
    ["nothing", null, 409, "does not tell"],
  ])("of %s is refused", (title, service, status, why) => {
    const version = title.includes("changed") ? 11 : 12;
    for (const result of [startRun(service, { version, due }), endRun(service, { version })])
      expect(result).toMatchObject({ ok: false, status, why: expect.stringContaining(why) as string });
  });

  test.each(["", "{}", "[]", '{"version":1}', '{"version":-1,"due":"2026-11-29T03:00:00.000Z"}', '{"version":1,"due":"x"}', '{"version":1,"due":"2026-11-29T03:00:00.000Z","image":"a"}'])("has no body like %s", (body) => {
    expect(readStart(body)).toBeUndefined();
  }); // prettier-ignore
});

test("an end takes the task away", () => {
  const result = endRun(report(), { version: 12 });
  expect(result).toMatchObject({ ok: true, spec: { Mode: { Replicated: { Replicas: 0 } }, TaskTemplate: template } });
  expect([readEnd('{"version":1}'), readEnd('{"version":1,"due":1}'), readEnd("")]).toEqual([{ version: 1 }, undefined, undefined]);
}); // prettier-ignore

test("no other change starts a job", () => {
  const scaled = dockerService({
    labels: { ...labels, "switchyard.replicas.max": "5", "switchyard.replicas.target": "1", "switchyard.memory": "auto" },
  }); // prettier-ignore
  expect(rescale(scaled, { version: 12, replicas: 3 })).toMatchObject({ status: 403, why: "the service is a job" }); // prettier-ignore
  const limits = { version: 12, memoryBytes: 64 * 1024 ** 2 };
  expect(relimit(scaled, { ...limits, rollout: true })).toMatchObject({ ok: false, status: 403 });
  expect(relimit(scaled, limits)).toMatchObject({ ok: true });
});
