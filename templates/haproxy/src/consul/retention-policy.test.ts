import { describe, expect, test } from "vitest";
import type { Instance } from "../../../../routing/types";
import {
  addressKey,
  instanceKey,
  retain,
  type RetentionInput,
  type RetentionOutput,
} from "./retention-policy";
import { instance } from "../testing";

/** `count` instances of a service, on ports from `first` on. */
const many = (service: string, count: number, first: number, given: Partial<Instance> = {}) =>
  Array.from({ length: count }, (_, index) => instance(service, first + index, given));
const at = (service: string, port: number, healthy = true) => instance(service, port, { healthy });

const given = (input: Partial<RetentionInput>): RetentionOutput =>
  retain({
    before: [],
    retained: new Map(),
    lost: [],
    now: [],
    share: 0.5,
    silent: new Set(),
    time: 1_000_000,
    retentionMs: 60_000,
    ...input,
  });
const retainedPorts = ({ retained }: RetentionOutput) =>
  [...retained.values()].map(({ instance }) => instance.port);
const usable = ({ instances }: RetentionOutput) =>
  instances.flatMap(({ healthy, port }) => (healthy ? [port] : [])).sort((a, b) => a - b);

const four = [at("a", 1), at("b", 2), at("c", 3), at("d", 4)];

describe("ordinary changes take effect at once", () => {
  test.each<[string, Instance[], Instance[], number[]]>([
    ["the only container of a service stops", four, four.slice(1), [2, 3, 4]],
    ["scaling down", [at("a", 1), at("a", 2), at("a", 3)], [at("a", 1)], [1]],
    ["the only service stops", [at("a", 1)], [], []],
    ["two of two services stop", [at("a", 1), at("b", 2)], [], []],
    ["an instance turns critical", four, [at("a", 1, false), ...four.slice(1)], [2, 3, 4]],
    ["one of four is replaced", four, [at("a", 9), ...four.slice(1)], [2, 3, 4, 9]],
    ["two of five services stop", [...four, at("e", 5)], four.slice(0, 3), [1, 2, 3]],
    [
      "the largest service is scaled down",
      [...four, ...many("e", 6, 5)],
      [...four, at("e", 5)],
      [1, 2, 3, 4, 5],
    ],
    [
      "all instances are replaced at once",
      four,
      [at("a", 5), at("b", 6), at("c", 7), at("d", 8)],
      [5, 6, 7, 8],
    ],
  ])("%s", (_, before, now, expected) => {
    expect(usable(given({ before, now }))).toEqual(expected);
  });
});

describe("an instance is retained", () => {
  test("when all instances disappear at once", () => {
    const result = given({ before: four, now: [] });
    expect(usable(result)).toEqual([1, 2, 3, 4]);
    expect(retainedPorts(result)).toEqual([1, 2, 3, 4]);
  });

  test("when half of the services disappear at once, and only their instances", () => {
    expect(retainedPorts(given({ before: four, now: four.slice(2) }))).toEqual([1, 2]);
  });

  test("when all turn critical at once, as when an agent restarts", () => {
    const now = four.map((instance) => ({ ...instance, healthy: false }));
    const result = given({ before: four, now });
    expect(usable(result)).toEqual([1, 2, 3, 4]);
    expect(result.instances).toHaveLength(4);
  });

  test("when the share that the operator has set disappears", () => {
    expect(retainedPorts(given({ before: four, now: four.slice(1), share: 0.25 }))).toEqual([1]);
    expect(retainedPorts(given({ before: four, now: four.slice(2), share: 0.75 }))).toEqual([]);
    expect(given({ before: four, now: [] }).retained.get(instanceKey(at("a", 1)))?.why).toBe(
      "4 of 4 services were gone at once",
    );
  });

  test("when every service loses most of its instances, but none loses all", () => {
    const before = ["a", "b", "c", "d"].flatMap((service, index) => many(service, 10, index * 10 + 1));
    const result = given({ before, now: before.filter(({ port }) => port % 10 === 1) });
    expect(usable(result)).toHaveLength(40);
    expect(result.retained.get(instanceKey(at("a", 2)))?.why).toBe("36 of 40 instances were gone at once");
  });

  test("when all routed instances disappear, even if many others stay", () => {
    const others = many("worker", 20, 100, { tags: [] });
    expect(retainedPorts(given({ before: [...four, ...others], now: others }))).toEqual([1, 2, 3, 4]);
  });

  test("after Consul was lost, even if it is the only one", () => {
    expect(retainedPorts(given({ before: four, now: four.slice(1), suspect: "Consul was lost" }))).toEqual([
      1,
    ]);
  });
});

test.each<[string, Partial<Instance>]>([
  ["has no tag for traffic", { tags: [] }],
  ["has an invalid address", { address: "evil.example.com:80" }],
  ["has an invalid port", { port: 70_000 }],
  ["has an invalid name", { service: "a\u001b[2J" }],
  ["has an invalid option", { meta: { weight: "heavy" } }],
])("an instance that %s is never retained, so it gets no requests", (_, bad) => {
  const before = [...four, instance("bad", 22, bad)];
  const result = given({ before, now: [], suspect: "Consul was lost" });
  expect(retainedPorts(result)).toEqual([1, 2, 3, 4]);
});

describe("nodes are watched one by one", () => {
  const start = 1_000_000;
  const four = ["a", "b", "c", "d"].map((service, node) => instance(service, node + 1, { node: `n${node}` }));
  const first = given({ before: four, now: four.slice(1), time: start });

  test("losses within moments count together, and earlier ones come back", () => {
    expect(usable(first)).toEqual([2, 3, 4]);
    const second = given({
      before: first.instances,
      lost: first.lost,
      now: four.slice(2),
      time: start + 1_999,
    });
    expect(usable(second)).toEqual([1, 2, 3, 4]);
    expect(second.lost).toEqual([]);
  });

  test("losses in two answers about the same node do not", () => {
    const same = four.map((each) => ({ ...each, node: "n" }));
    const one = given({ before: same, now: same.slice(1), time: start });
    const two = given({ before: one.instances, lost: one.lost, now: same.slice(2), time: start + 100 });
    expect(usable(two)).toEqual([3, 4]);
    const rest = given({ before: one.instances, lost: one.lost, now: same.slice(3), time: start + 100 });
    expect(usable(rest)).toEqual([2, 3, 4]);
    expect(rest.lost.map(({ instance }) => instance.port)).toEqual([1]);
  });

  test("a later loss is counted separately", () => {
    const second = given({
      before: first.instances,
      lost: first.lost,
      now: four.slice(2),
      time: start + 2_000,
    });
    expect(usable(second)).toEqual([3, 4]);
  });

  test("each loss keeps its own time, whatever happens in between", () => {
    const between = given({ ...first, before: first.instances, now: four.slice(1), time: start + 1_500 });
    const late = given({
      before: between.instances,
      lost: between.lost,
      now: four.slice(2),
      time: start + 2_500,
    });
    expect(usable(late)).toEqual([3, 4]);
  });

  test("a loss moments before Consul's own is suspect as well", () => {
    const suspect = "Consul was lost";
    const lost = given({ before: first.instances, lost: first.lost, now: four.slice(1), suspect });
    expect(usable(lost)).toEqual([1, 2, 3, 4]);
  });

  test("an instance that has come back is not lost", () => {
    const back = given({ before: first.instances, lost: first.lost, now: four });
    expect(back.lost).toEqual([]);
    const again = given({ before: four, lost: first.lost, now: four.slice(1), time: start + 1 });
    expect(usable(again)).toEqual([2, 3, 4]);
  });
});

describe("a retained instance is released", () => {
  const first = given({ before: four, now: [] });
  const next = (input: Partial<RetentionInput>) =>
    given({ before: first.instances, retained: first.retained, ...input });

  test("when it registers again", () => {
    const result = next({ now: [at("a", 1)] });
    expect(usable(result)).toEqual([1, 2, 3, 4]);
    expect(retainedPorts(result)).toEqual([2, 3, 4]);
  });

  test("when nothing listens there", () => {
    expect(usable(next({ silent: new Set([addressKey(at("b", 2))]) }))).toEqual([1, 3, 4]);
  });

  test("when another service gets its address", () => {
    expect(retainedPorts(next({ now: [at("x", 3)] }))).toEqual([1, 2, 4]);
  });

  test("when the retention time ends, and not before", () => {
    expect(retainedPorts(next({ time: 1_059_999 }))).toHaveLength(4);
    expect(retainedPorts(next({ time: 1_060_000 }))).toEqual([]);
  });

  test("the retention time starts at the first loss and is not extended by later ones", () => {
    expect(
      next({ time: 1_030_000, suspect: "Consul was lost" }).retained.get(instanceKey(at("a", 1)))?.since,
    ).toBe(1_000_000);
  });
});
