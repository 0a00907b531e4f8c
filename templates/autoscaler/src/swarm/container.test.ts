import { expect, test } from "vitest";
import { updateOf } from "./container";

const mebibyte = 1024 ** 2;
const labels = { "switchyard.memory.min": "64m", "switchyard.memory.max": "1g", "switchyard.cpus.max": "2" };
const container = (memory: number, nanoCpus: number, own: object = labels) => ({
  Config: { Labels: own },
  HostConfig: { Memory: memory * mebibyte, NanoCpus: nanoCpus },
});

test("changes memory together with its swap space, and processors", () => {
  expect(updateOf(container(0, 0), 1, { memoryBytes: 128 * mebibyte, cores: 0.5 })).toEqual({
    ok: true,
    update: { Memory: 128 * mebibyte, MemorySwap: 256 * mebibyte, NanoCpus: 5e8 },
  });
});

test("changes only what differs", () => {
  const limits = { memoryBytes: 128 * mebibyte, cores: 0.5 };
  expect(updateOf(container(128, 1e8), undefined, limits)).toEqual({ ok: true, update: { NanoCpus: 5e8 } });
  expect(updateOf(container(128, 5e8), undefined, limits)).toEqual({ ok: true, update: undefined });
});

test("less memory than 1.15 times what is in use is refused, except to raise a limit", () => {
  const change = (now: number, used: number) =>
    updateOf(container(now, 0), used * mebibyte, { memoryBytes: 115 * mebibyte });
  expect(change(512, 100)).toMatchObject({ ok: true });
  for (const now of [0, 512]) expect(change(now, 101)).toMatchObject({ ok: false, status: 409 });
  expect(change(100, 101)).toMatchObject({ ok: true });
});

test("a lower limit is refused if Docker does not tell what is in use", () => {
  const change = (now: number) => updateOf(container(now, 0), undefined, { memoryBytes: 128 * mebibyte });
  for (const now of [0, 512]) expect(change(now)).toMatchObject({ ok: false, status: 409 });
  expect(change(100)).toMatchObject({ ok: true });
});

test.each<[string, unknown, object]>([
  ["too little memory", container(0, 0), { memoryBytes: 63 * mebibyte }],
  ["too much memory", container(0, 0), { memoryBytes: 1025 * mebibyte }],
  ["too many cores", container(0, 0), { cores: 2.1 }],
  ["no labels", container(0, 0, {}), { cores: 1 }],
  ["labels with a mistake", container(0, 0, { ...labels, "switchyard.memory.min": "2g" }), { cores: 1 }],
])("is refused: %s", (_, found, limits) => {
  expect(updateOf(found, undefined, limits)).toMatchObject({ ok: false, status: 403 });
});

test("is refused: no container", () => {
  expect(updateOf(null, undefined, { cores: 1 })).toMatchObject({ ok: false, status: 409 });
});
