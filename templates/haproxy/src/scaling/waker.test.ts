import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Waker } from "./waker";

let dir: string;
let waker: Waker;
let log: string[];
const write = vi.fn<(key: string, value: string, how?: { create?: boolean }) => Promise<void>>();

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "wanted-"));
  log = [];
  write.mockReset().mockResolvedValue(undefined);
  const sleeping = () => new Set(["hello/v1"]);
  waker = new Waker({ dir, node: "node-1", consul: { write }, sleeping, log: (line) => log.push(line) });
});
afterEach(() => {
  vi.useRealTimers();
  waker.stop();
  rmSync(dir, { recursive: true });
});

test("a file with a service's name asks for it, once", async () => {
  waker.start();
  writeFileSync(join(dir, "hello:v1"), "1");
  await vi.waitFor(() => {
    expect(write).toHaveBeenCalled();
  });
  writeFileSync(join(dir, "hello:v1"), "1");
  writeFileSync(join(dir, "other"), "1");
  await waker.wake("hello/v1");
  expect(write.mock.calls).toEqual([["service/autoscaler/wanted/hello/v1", "node-1", { create: true }]]);
});

test("it asks again as long as requests wait, and at once after a failure, which it reports once", async () => {
  vi.useFakeTimers();
  write.mockRejectedValue(new Error("no leader"));
  await waker.wake("hello/v1");
  await waker.wake("hello/v1");
  expect(log).toEqual(["hello/v1 cannot be woken: no leader"]);
  write.mockResolvedValue(undefined);
  await waker.wake("hello/v1");
  await waker.wake("hello/v1");
  expect(write).toHaveBeenCalledTimes(3);
  await vi.advanceTimersByTimeAsync(1_001);
  await waker.wake("hello/v1");
  expect(write).toHaveBeenCalledTimes(4);
});

test("a service that does not sleep is not asked for", async () => {
  await waker.wake("../hello");
  await waker.wake("other");
  expect(write).not.toHaveBeenCalled();
});
