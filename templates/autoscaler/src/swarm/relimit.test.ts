import { expect, test } from "vitest";
import { readLimits, readRelimit, relimit } from "./relimit";
import { dockerService } from "./testing";

const mebibyte = 1024 ** 2;
const labels = { "switchyard.memory.min": "64m", "switchyard.memory.max": "1g", theirs: "x" };

test("writes labels of the service, and changes nothing else", () => {
  const result = relimit(dockerService({ labels }), { version: 12, memoryBytes: 128 * mebibyte });
  const expected = { ...labels, "switchyard.limits.memory": "134217728" };
  expect(result.ok && result.spec).toEqual(dockerService({ labels: expected })["Spec"]);
});

test("a rollout changes the limit of memory in the specification, and nothing else of it", () => {
  const service = dockerService({
    labels,
    spec: { TaskTemplate: { Resources: { Limits: { NanoCPUs: 5e8 } }, ForceUpdate: 3 } },
  });
  const result = relimit(service, { version: 12, memoryBytes: 128 * mebibyte, rollout: true });
  expect(result.ok && result.spec["TaskTemplate"]).toEqual({
    Resources: { Limits: { NanoCPUs: 5e8, MemoryBytes: 128 * mebibyte } },
    ForceUpdate: 3,
  });
  expect(readRelimit('{"version":1,"memoryBytes":5,"rollout":true}')).toEqual({
    version: 1,
    memoryBytes: 5,
    rollout: true,
  });
});

test("the other limit stays as it was chosen", () => {
  const both = { ...labels, "switchyard.cpus": "auto", "switchyard.limits.memory": "134217728" };
  const result = relimit(dockerService({ labels: both }), { version: 12, cores: 0.5 });
  expect(result.ok && result.spec["Labels"]).toEqual({ ...both, "switchyard.limits.cpus": "0.5" });
});

test.each<[string, object, object, number]>([
  ["another version", dockerService({ labels }), { version: 11, memoryBytes: 128 * mebibyte }, 409],
  ["too little", dockerService({ labels }), { version: 12, memoryBytes: 63 * mebibyte }, 403],
  ["too much", dockerService({ labels }), { version: 12, memoryBytes: 1025 * mebibyte }, 403],
  ["a limit that is not automatic", dockerService({ labels }), { version: 12, cores: 1 }, 403],
  ["a service that is scaled only", dockerService(), { version: 12, memoryBytes: 128 * mebibyte }, 403],
  ["no service", {}, { version: 12, memoryBytes: 128 * mebibyte }, 409],
])("is refused: %s", (_, service, change, status) => {
  expect(relimit(service, change as never)).toMatchObject({ ok: false, status });
});

test.each([
  "",
  "[]",
  '{"version":1}',
  '{"version":-1,"cores":1}',
  '{"version":1,"cores":0}',
  '{"version":1,"cores":"1"}',
  '{"version":1,"memoryBytes":0}',
  '{"version":1,"memoryBytes":1.5}',
  '{"version":1,"memoryBytes":1e400}',
  '{"version":1,"cores":1,"replicas":3}',
  '{"version":1,"cores":1,"rollout":true}',
  '{"version":1,"memoryBytes":1,"rollout":false}',
])("the body %j is refused", (body) => {
  expect(readRelimit(body)).toBeUndefined();
});

test("limits alone have no version", () => {
  expect(readLimits({ cores: 0.5, memoryBytes: 1 })).toEqual({ cores: 0.5, memoryBytes: 1 });
  expect(readLimits({ version: 1, cores: 0.5 })).toBeUndefined();
});
