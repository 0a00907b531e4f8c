import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Catalog, Instance } from "../../../../routing/build";
import { Holder, type Circumstances } from "./retention";
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
let holder: Holder;

beforeEach(() => {
  vi.useFakeTimers();
  listening.clear();
  for (const port of [1, 2, 3, 4]) listening.add(port);
  log.length = 0;
  changed.mockClear();
  holder = new Holder({
    holdTime: 60_000,
    holdShare: 0.5,
    log: (message) => log.push(message),
    changed,
    probe: (_, port) => Promise.resolve(listening.has(port)),
  });
  holder.start();
});
afterEach(() => {
  holder.stop();
  vi.useRealTimers();
});

const ports = (given: Catalog) => given.instances.map(({ port }) => port).sort();

test("in quiet times Consul is taken at its word", () => {
  expect(ports(holder.filter(without(1), four, fine))).toEqual([2, 3, 4]);
  expect(log).toEqual([]);
});

test("while Consul cannot be asked, and until it has settled, what goes is held; then no more", () => {
  holder.doubt("connection refused");
  expect(ports(holder.filter(without(1), four, { ...fine, connected: false }))).toEqual([1, 2, 3, 4]);
  expect(log.at(-1)).toContain("connection refused");
  vi.advanceTimersByTime(30_000);
  holder.back();
  vi.advanceTimersByTime(9_000);
  expect(ports(holder.filter(catalog(), four, fine))).toEqual([1, 2, 3, 4]);
});

test("a deliberate stop long enough after Consul's return acts at once, although the instance still listens", () => {
  holder.doubt("connection refused");
  holder.back();
  vi.advanceTimersByTime(10_000);
  expect(ports(holder.filter(without(1), four, fine))).toEqual([2, 3, 4]);
});

test("what does not listen any more is let go within moments, also in doubt", async () => {
  holder.doubt("connection refused");
  listening.delete(1);
  holder.filter(without(1), four, fine);
  await vi.advanceTimersByTimeAsync(0);
  expect(changed).toHaveBeenCalled();
  expect(ports(holder.filter(without(1), four, fine))).toEqual([2, 3, 4]);
  expect(log.at(-1)).toBe("no longer held: a");
});

test("what has come back where nothing listened is held like the others when Consul loses it again", async () => {
  listening.delete(1);
  const before = holder.filter(catalog(), four, fine);
  await vi.advanceTimersByTimeAsync(0);
  const after = holder.filter(catalog(), before, fine);
  expect(ports(after)).toEqual([2, 3, 4]);
  listening.add(1);
  const back = holder.filter(catalog(...four.instances.slice(0, 1)), after, fine);
  expect(ports(back)).toEqual([1, 2, 3, 4]);
  holder.doubt("connection refused");
  expect(ports(holder.filter(catalog(), back, fine))).toEqual([1, 2, 3, 4]);
});

test("what stops listening later is let go by the next probe", async () => {
  const before = holder.filter(catalog(), four, fine);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(ports(holder.filter(catalog(), before, fine))).toEqual([1, 2, 3, 4]);
  listening.delete(3);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(ports(holder.filter(catalog(), before, fine))).toEqual([1, 2, 4]);
});

test("by hand everything is let go at once, and stays so", () => {
  const before = holder.filter(catalog(), four, fine);
  expect(ports(before)).toEqual([1, 2, 3, 4]);
  holder.release();
  expect(changed).toHaveBeenCalledTimes(1);
  const after = holder.filter(catalog(), before, fine);
  expect(ports(after)).toEqual([]);
  expect(ports(holder.filter(catalog(), after, fine))).toEqual([]);
  expect(log.join("\n")).toContain("released by hand: 4");
});

test("by hand also what went a moment ago is let go", () => {
  const after = holder.filter(without(1), four, fine);
  holder.release();
  expect(ports(holder.filter(catalog(), after, { ...fine, connected: false }))).toEqual([]);
});

test("losses of one moment on different nodes count together", () => {
  const after = holder.filter(without(1), four, fine);
  vi.advanceTimersByTime(1_000);
  const more = catalog(...four.instances.slice(2));
  expect(ports(holder.filter(more, after, fine))).toEqual([1, 2, 3, 4]);
  expect(log[0]).toContain("2 of 4 services were gone at once");
});

test("the first answer after a start is doubted against the last good state", () => {
  expect(ports(holder.filter(catalog(), four, { connected: true, synced: false }))).toEqual([1, 2, 3, 4]);
  expect(log[0]).toContain("before the load balancer started");
});
