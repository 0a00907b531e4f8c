import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { parseFigures } from "../../../../routing/scaling/figures";
import { scalingKeys } from "../../../../routing/scaling/keys";
import { FiguresWriter } from "./figures-writer";
import type { Reading } from "./meter";

const reading: Reading = {
  loads: [{ service: "hello", concurrent: 4, queued: 0, errors: 0, requests: new Map() }],
  held: new Map(),
};

let values: Record<string, string>;
let log: string[];
const write = vi.fn<(key: string, value: string) => Promise<void>>();
const read = vi.fn<() => Promise<Reading>>();
const writer = () =>
  new FiguresWriter({
    node: "node-1",
    consul: { write },
    values: () => values,
    index: () => 812,
    read,
    log: (message) => log.push(message),
  });

beforeEach(() => {
  values = { [scalingKeys.lock]: "node-2" };
  log = [];
  write.mockReset().mockResolvedValue(undefined);
  read.mockReset().mockResolvedValue(reading);
});
afterEach(() => {
  vi.useRealTimers();
});

test("writes what the autoscaler reads, under the node's name, every two seconds", async () => {
  vi.useFakeTimers();
  const figures = writer();
  figures.start();
  await vi.advanceTimersByTimeAsync(4_100);
  figures.stop();
  await vi.advanceTimersByTimeAsync(4_000);
  expect(write.mock.calls.map(([key]) => key)).toEqual(Array(2).fill("service/autoscaler/figures/node-1"));
  const [first, second] = write.mock.calls.map(([, value]) => parseFigures(value));
  expect(second).toMatchObject({ ok: true, value: { index: 812 } });
  if (first?.ok !== true || second?.ok !== true) throw new Error("the figures cannot be read");
  expect(second.value.services.get("hello")).toMatchObject({ concurrent: 4 });
  expect(second.value.sequence).toBeGreaterThan(first.value.sequence);
});

test("without an autoscaler nothing is read or written", async () => {
  values = {};
  await writer().write();
  expect([read, write].map(({ mock }) => mock.calls.length)).toEqual([0, 0]);
});

test("a failure is reported once, and so is its end", async () => {
  const figures = writer();
  write.mockRejectedValue(new Error("Consul answered 403"));
  await figures.write();
  await figures.write();
  expect(log).toEqual(["The autoscaler cannot be told about requests: Consul answered 403"]);
  write.mockResolvedValue(undefined);
  await figures.write();
  await figures.write();
  expect(log.slice(1)).toEqual(["The autoscaler is told about requests again."]);
});

test("a slow answer is waited for, not overtaken", async () => {
  let answer: (reading: Reading) => void = () => undefined;
  read.mockReturnValue(
    new Promise((resolve) => {
      answer = resolve;
    }),
  );
  const figures = writer();
  const first = figures.write();
  await figures.write();
  expect(read).toHaveBeenCalledTimes(1);
  answer(reading);
  await first;
  expect(write).toHaveBeenCalledTimes(1);
});
