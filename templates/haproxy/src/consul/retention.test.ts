import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Catalog, Instance } from "../../../../routing/types";
import { Retention, type Circumstances } from "./retention";
import { instance } from "../testing";

const catalog = (...instances: Instance[]): Catalog => ({ instances, kv: {} });
const four = catalog(
  ...["a", "b", "c", "d"].map((service, index) => instance(service, index + 1, { node: `n${index}` })),
);
const without = (port: number) => catalog(...four.instances.filter((each) => each.port !== port));
const fine: Circumstances = { connected: true, synced: true };

const listening = new Set<number>();
const log: string[] = [];
const changed = vi.fn();
let retention: Retention;

beforeEach(() => {
  vi.useFakeTimers();
  listening.clear();
  for (const port of [1, 2, 3, 4]) listening.add(port);
  log.length = 0;
  changed.mockClear();
  retention = new Retention({
    retentionMs: 60_000,
    retentionShare: 0.5,
    log: (message) => log.push(message),
    changed,
    probe: (_, port) => Promise.resolve(listening.has(port)),
  });
  retention.start();
});
afterEach(() => {
  retention.stop();
  vi.useRealTimers();
});

const ports = (given: Catalog) => given.instances.map(({ port }) => port).sort();

test("an ordinary loss takes effect at once", () => {
  expect(ports(retention.filter(without(1), four, fine))).toEqual([2, 3, 4]);
  expect(log).toEqual([]);
});

test("losses are suspect while Consul is away and until it has settled", () => {
  retention.suspect("connection refused");
  expect(ports(retention.filter(without(1), four, { ...fine, connected: false }))).toEqual([1, 2, 3, 4]);
  expect(log.at(-1)).toContain("connection refused");
  vi.advanceTimersByTime(30_000);
  retention.back();
  vi.advanceTimersByTime(9_000);
  expect(ports(retention.filter(catalog(), four, fine))).toEqual([1, 2, 3, 4]);
});

test("a stop takes effect at once when Consul has been back for a while, even if the instance still listens", () => {
  retention.suspect("connection refused");
  retention.back();
  vi.advanceTimersByTime(10_000);
  expect(ports(retention.filter(without(1), four, fine))).toEqual([2, 3, 4]);
});

test("an instance that no longer listens is released at once, even while Consul is suspect", async () => {
  retention.suspect("connection refused");
  listening.delete(1);
  retention.filter(without(1), four, fine);
  await vi.advanceTimersByTimeAsync(0);
  expect(changed).toHaveBeenCalled();
  expect(ports(retention.filter(without(1), four, fine))).toEqual([2, 3, 4]);
  expect(log.at(-1)).toBe("no longer held: a");
});

test("an instance that starts to listen again is retained when Consul loses it again", async () => {
  listening.delete(1);
  const before = retention.filter(catalog(), four, fine);
  await vi.advanceTimersByTimeAsync(0);
  const after = retention.filter(catalog(), before, fine);
  expect(ports(after)).toEqual([2, 3, 4]);
  listening.add(1);
  const back = retention.filter(catalog(...four.instances.slice(0, 1)), after, fine);
  expect(ports(back)).toEqual([1, 2, 3, 4]);
  retention.suspect("connection refused");
  expect(ports(retention.filter(catalog(), back, fine))).toEqual([1, 2, 3, 4]);
});

test("the next probe releases an instance that has stopped listening", async () => {
  const before = retention.filter(catalog(), four, fine);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(ports(retention.filter(catalog(), before, fine))).toEqual([1, 2, 3, 4]);
  listening.delete(3);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(ports(retention.filter(catalog(), before, fine))).toEqual([1, 2, 4]);
});

test("an instance that has stopped listening is released, even if another container gets its port", async () => {
  const before = retention.filter(catalog(), four, fine);
  await vi.advanceTimersByTimeAsync(300);
  listening.delete(3);
  await vi.advanceTimersByTimeAsync(200);
  listening.add(3);
  expect(changed).toHaveBeenCalledOnce();
  expect(ports(retention.filter(catalog(), before, fine))).toEqual([1, 2, 4]);
});

test("a release by hand drops everything at once, for good", () => {
  const before = retention.filter(catalog(), four, fine);
  expect(ports(before)).toEqual([1, 2, 3, 4]);
  retention.release();
  expect(changed).toHaveBeenCalledTimes(1);
  const after = retention.filter(catalog(), before, fine);
  expect(ports(after)).toEqual([]);
  expect(ports(retention.filter(catalog(), after, fine))).toEqual([]);
  expect(log.join("\n")).toContain("released by hand: 4");
});

test("a release by hand also drops what was lost a moment ago", () => {
  const after = retention.filter(without(1), four, fine);
  retention.release();
  expect(ports(retention.filter(catalog(), after, { ...fine, connected: false }))).toEqual([]);
});

test("losses on different nodes within a moment count together", () => {
  const after = retention.filter(without(1), four, fine);
  vi.advanceTimersByTime(1_000);
  const more = catalog(...four.instances.slice(2));
  expect(ports(retention.filter(more, after, fine))).toEqual([1, 2, 3, 4]);
  expect(log[0]).toContain("2 of 4 services were gone at once");
});

test("losses in the first answer after a start are suspect", () => {
  expect(ports(retention.filter(catalog(), four, { connected: true, synced: false }))).toEqual([1, 2, 3, 4]);
  expect(log[0]).toContain("before the load balancer started");
});
