import { expect, test } from "vitest";

import { eventLog } from "../engine/print";
import { readEvents } from "./events";

const urn = (type: string, name: string) =>
  `urn:pulumi:dev::switchyard::switchyard:index:Service$${type}::${name}`;
const service = "pulumi-nodejs:dynamic/switchyard:SwarmService";
const container = "docker:index/container:Container";

const log = (...events: readonly object[]): string =>
  events.map((event, sequence) => `${JSON.stringify({ sequence, ...event })}\n`).join("");
const step = (op: string, type: string, name: string, more: object = {}) => ({
  resourcePreEvent: { metadata: { op, urn: urn(type, name), type, ...more }, planning: true },
});

test("reads the Pulumi CLI's events, but only the names of properties", () => {
  const inputs = { name: "a", replicas: 2, env: { TOKEN: "not to be shown" }, __provider: "old" };
  const changed = { ...inputs, replicas: 3, limits: { cpus: 1 }, __provider: "new" };
  const text = log(
    { diagnosticEvent: { severity: "debug", message: "resp: not to be shown\n" } },
    step("same", service, "b"),
    step("update", service, "a", { old: { inputs }, new: { inputs: changed }, detailedDiff: null }),
    { resOutputsEvent: step("update", service, "a").resourcePreEvent },
    step("replace", container, "rest", { diffs: ["command"], old: { inputs: {} }, new: null }),
    {
      resourcePreEvent: {
        metadata: { op: "create", urn: "urn:pulumi:dev::p::pulumi:providers:docker::default_5_2_0" },
      },
    },
    { summaryEvent: { resourceChanges: { same: 1, update: 1, replace: 1 } } },
    { cancelEvent: {} },
  );
  const read = readEvents(text);
  expect(read).toEqual({
    changes: { same: 1, update: 1, replace: 1 },
    gone: [],
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
        urn: urn(container, "rest"),
        type: container,
        name: "rest",
        properties: ["command"],
      },
    ],
  });
  expect(readEvents(text + '{"sequence":9,"resourcePre')).toEqual(read);
});

test("what was refreshed and is created is gone, and a refresh is no step", () => {
  const read = readEvents(
    log(
      step("refresh", container, "registrator-local"),
      step("refresh", container, "rest-local"),
      step("create", container, "registrator-local"),
      step("create", container, "new"),
    ),
  );
  expect(read.steps.map(({ operation, name }) => [operation, name])).toEqual([
    ["create", "registrator-local"],
    ["create", "new"],
  ]);
  expect(read.gone).toEqual([{ type: container, name: "registrator-local" }]);
});

test("reads the embedded engine's events", () => {
  const [a, b] = ["a", "hello/v1"].map((name) => ({ type: service, urn: urn(service, name) }));
  if (a === undefined || b === undefined) throw new Error("two resources were made");
  const values = { olds: { replicas: 1 }, news: { replicas: 2 } };
  const read = readEvents(
    eventLog(
      [b],
      [
        { ...a, ...values, operation: "update", changed: ["replicas"] },
        { ...b, ...values, operation: "create", changed: [] },
      ],
    ),
  );
  expect(read).toEqual({
    changes: { update: 1, create: 1 },
    gone: [{ type: service, name: "hello/v1" }],
    steps: [
      { ...a, operation: "update", name: "a", properties: ["replicas"] },
      { ...b, operation: "create", name: "hello/v1", properties: [] },
    ],
  });
});
