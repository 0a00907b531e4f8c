import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fakeEngine, type FakeEngine } from "../providers/fake-engine";
import { findJob, runJob } from "./run";

const service = (name: string, more: object) => ({
  urn: `urn:pulumi:dev::switchyard::switchyard:index:Service$pulumi-nodejs:dynamic/index:SwarmService::${name}`,
  type: "pulumi-nodejs:dynamic/index:SwarmService",
  inputs: { name: name.replace("/", "-"), host: "unix:///d", ...more },
});
const resources = [
  service("shop/report", { serviceLabels: { "switchyard.schedule": "0 3 * * *" }, sshOpts: ["-4"] }),
  service("web", {}),
];
const state = JSON.stringify({ resources });

describe("a job is found in the state", () => {
  const found = { name: "shop/report", swarmName: "shop-report", host: "unix:///d", sshOpts: ["-4"] };
  test.each([
    ["the embedded engine", state],
    ["Pulumi", JSON.stringify({ version: 3, deployment: { resources } })],
  ])("of %s, by either name", (_, text) => {
    expect([findJob(text, "shop/report"), findJob(text, "shop-report")]).toEqual([found, found]);
  });

  test.each([
    ["web", state, "web has no schedule in the deployed stack: name one of shop/report"],
    ["other", state, "There is no service other in the deployed stack: name one of shop/report"],
    ["shop/report", "", "give a service a schedule, and run script/up"],
  ])("%s is not one", (name, text, message) => {
    expect(() => findJob(text, name)).toThrow(message);
  });
});

describe("a run", () => {
  let engine: FakeEngine;
  beforeEach(async () => {
    engine = await fakeEngine();
  });
  afterEach(() => {
    engine.close();
  });

  const job = () => ({ name: "shop/report", swarmName: "shop-report", host: engine.host });
  const task = (State: string, run: number, more: object = {}) => ({
    ID: `t${run}`,
    ServiceID: "j1",
    CreatedAt: "2026-11-29T03:00:00Z",
    Spec: { ForceUpdate: run },
    Status: { State, Timestamp: "2026-11-29T03:00:01Z", ...more },
  });

  function serve(states: object[][], labels: object = { "switchyard.schedule": "0 3 * * *" }): void {
    engine.answers["GET /services/shop-report"] = {
      ID: "j1",
      Version: { Index: 7 },
      Spec: {
        Name: "shop-report",
        Labels: labels,
        TaskTemplate: { ForceUpdate: 4, RestartPolicy: { Condition: "none" } },
        Mode: { Replicated: { Replicas: 1 } },
      },
    };
    engine.answers["GET /tasks"] = () => states.shift() ?? states.at(-1) ?? [];
    engine.answers["POST /services/j1/update"] = {};
    const head = Buffer.from([1, 0, 0, 0, 0, 0, 0, 3]);
    engine.answers["GET /services/j1/logs"] = Buffer.concat([head, Buffer.from("hi\n")]);
  }

  async function run(): Promise<{ code: number; output: string; errors: string }> {
    const [output, errors] = [new PassThrough(), new PassThrough()];
    const code = await runJob(job(), output, errors);
    return { code, output: String(output.read() ?? ""), errors: String(errors.read() ?? "") };
  }

  test.each<[object, object]>([
    [task("complete", 5), { code: 0, output: "hi\n", errors: "shop/report has succeeded\n" }],
    [
      task("failed", 5, { Err: "task: non-zero exit (3)", ContainerStatus: { ExitCode: 3 } }),
      { code: 3, errors: "shop/report has not succeeded: task: non-zero exit (3)\n" },
    ],
    [task("rejected", 5, { Err: "No such image: a" }), { code: 1 }],
  ])("that ends as %j is told of", async (end, told) => {
    serve([[task("complete", 4)], [task("complete", 4), task("running", 5)], [task("complete", 4), end]]);
    expect(await run()).toMatchObject(told);
    const sent = engine.calls.find(({ what }) => what === "POST /services/j1/update");
    expect(sent).toMatchObject({
      query: { version: "7" },
      body: { Mode: { Replicated: { Replicas: 1 } }, TaskTemplate: { ForceUpdate: 5 } },
    });
  });

  test("does not begin while another goes on, or of a service that is no job", async () => {
    serve([[task("running", 4)]]);
    await expect(run()).rejects.toThrow("shop/report is running already");
    serve([], {});
    await expect(run()).rejects.toThrow("not deployed as a job any more");
    expect(engine.calls.every(({ what }) => what.startsWith("GET"))).toBe(true);
  });
});
