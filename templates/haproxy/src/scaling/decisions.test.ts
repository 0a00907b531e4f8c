import { beforeEach, expect, test, vi } from "vitest";
import { encodeStatus, type ScalingStatus } from "../../../../routing/scaling/status";
import { Decisions } from "./decisions";

const status: ScalingStatus = {
  node: "node-1",
  dry: false,
  at: "2026-11-29T09:00:00.000Z",
  services: [],
  limits: [],
  jobs: [],
  nodesWanted: 0,
};

let log: string[];
let exists: boolean;
const read = vi.fn<(key: string) => Promise<string | undefined>>();
const decisions = () =>
  new Decisions({ consul: { read }, exists: () => exists, log: (line) => log.push(line) });

beforeEach(() => {
  log = [];
  exists = true;
  read.mockReset().mockResolvedValue(encodeStatus(status));
});

test("those who ask at the same time share an answer", async () => {
  const made = decisions();
  const [first, second] = await Promise.all([made.latest(), made.latest()]);
  expect([first, second, await made.latest()]).toEqual([status, status, status]);
  expect(read.mock.calls).toEqual([["service/autoscaler/status"]]);
});

test("without an autoscaler nothing is asked", async () => {
  exists = false;
  expect(await decisions().latest()).toBeUndefined();
  expect(read).not.toHaveBeenCalled();
});

test("a value that cannot be used is named once, and the last good one stays", async () => {
  vi.useFakeTimers();
  const made = decisions();
  await made.latest();
  for (const bad of ["{", "[]"]) {
    read.mockResolvedValue(bad);
    vi.advanceTimersByTime(1_001);
    expect(await made.latest()).toEqual(status);
  }
  expect(log).toEqual([
    "What the autoscaler has decided cannot be read: The KV value of service/autoscaler/status is not JSON",
  ]);
  vi.useRealTimers();
});
