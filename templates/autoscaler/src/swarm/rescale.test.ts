import { expect, test } from "vitest";
import { readRescale, rescale } from "./rescale";
import { dockerService } from "./testing";

const sleeper = {
  "switchyard.replicas.min": "0",
  "switchyard.replicas.max": "5",
  "switchyard.replicas.target": "10",
  "switchyard.replicas.idle": "5m",
};

test("changes the number of replicas, and nothing else", () => {
  const service = dockerService();
  const result = rescale(service, { version: 12, replicas: 4 });
  expect(result.ok && result.spec).toEqual(dockerService({ replicas: 4 })["Spec"]);
  expect(service).toEqual(dockerService());
});

test("a service that sleeps by its labels may have none", () => {
  expect(rescale(dockerService({ labels: sleeper }), { version: 12, replicas: 0 }).ok).toBe(true);
});

test.each<[string, object, number, number, number]>([
  ["another version", dockerService(), 11, 3, 409],
  ["no labels", dockerService({ labels: {} }), 12, 3, 403],
  ["labels with a mistake", dockerService({ labels: { "switchyard.replicas.max": "x" } }), 12, 3, 403],
  ["automatic memory only", dockerService({ labels: { "switchyard.memory": "auto" } }), 12, 3, 403],
  ["too many", dockerService(), 12, 6, 403],
  ["too few", dockerService(), 12, 0, 403],
  ["one on each node", dockerService({ spec: { Mode: { Global: {} } } }), 12, 3, 403],
  ["a number that JavaScript rounds", dockerService({ spec: { A: [2 ** 60] } }), 12, 3, 403],
  ["no service", {}, 12, 3, 409],
])("is refused: %s", (_, service, version, replicas, status) => {
  expect(rescale(service, { version, replicas })).toMatchObject({ ok: false, status });
});

test.each([
  "",
  "[]",
  "{",
  '{"version":1}',
  '{"version":1,"replicas":"3"}',
  '{"version":1,"replicas":-1}',
  '{"version":1,"replicas":1.5}',
  '{"version":1,"replicas":1e400}',
  '{"version":1,"replicas":3,"image":"evil"}',
])("the body %j is refused", (body) => {
  expect(readRescale(body)).toBeUndefined();
});
