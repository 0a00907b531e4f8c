import { describe, expect, test } from "vitest";
import type { Instance } from "../../../../routing/build";
import { hold, instanceKey, place, type HoldInput, type HoldOutput } from "./retention-policy";
import { instance } from "../testing";

/** `count` instances of a service, on ports from `first` on. */
const many = (service: string, count: number, first: number, given: Partial<Instance> = {}) =>
  Array.from({ length: count }, (_, index) => instance(service, first + index, given));
const at = (service: string, port: number, healthy = true) => instance(service, port, { healthy });

const given = (input: Partial<HoldInput>): HoldOutput =>
  hold({
    before: [],
    held: new Map(),
    lost: [],
    now: [],
    share: 0.5,
    gone: new Set(),
    time: 1_000_000,
    holdTime: 60_000,
    ...input,
  });
const heldPorts = ({ held }: HoldOutput) => [...held.values()].map(({ instance }) => instance.port);
const usable = ({ instances }: HoldOutput) =>
  instances.flatMap(({ healthy, port }) => (healthy ? [port] : [])).sort((a, b) => a - b);

const four = [at("a", 1), at("b", 2), at("c", 3), at("d", 4)];

describe("ordinary changes act at once", () => {
  test.each<[string, Instance[], Instance[], number[]]>([
    ["the only container of a service goes", four, four.slice(1), [2, 3, 4]],
    ["scaling down", [at("a", 1), at("a", 2), at("a", 3)], [at("a", 1)], [1]],
    ["the only service of all goes", [at("a", 1)], [], []],
    ["two of two services go", [at("a", 1), at("b", 2)], [], []],
    ["an instance turns critical", four, [at("a", 1, false), ...four.slice(1)], [2, 3, 4]],
    ["one of four is replaced", four, [at("a", 9), ...four.slice(1)], [2, 3, 4, 9]],
    ["two of five services go", [...four, at("e", 5)], four.slice(0, 3), [1, 2, 3]],
    [
      "the largest service of all is scaled down",
      [...four, ...many("e", 6, 5)],
      [...four, at("e", 5)],
      [1, 2, 3, 4, 5],
    ],
    [
      "all are replaced by others in one step",
      four,
      [at("a", 5), at("b", 6), at("c", 7), at("d", 8)],
      [5, 6, 7, 8],
    ],
  ])("%s", (_, before, now, expected) => {
    expect(usable(given({ before, now }))).toEqual(expected);
  });
});

describe("suspicious losses are held", () => {
  test("when everything goes in one step", () => {
    const result = given({ before: four, now: [] });
    expect(usable(result)).toEqual([1, 2, 3, 4]);
    expect(heldPorts(result)).toEqual([1, 2, 3, 4]);
  });

  test("when half of the services go in one step, and those alone", () => {
    expect(heldPorts(given({ before: four, now: four.slice(2) }))).toEqual([1, 2]);
  });

  test("when half of them turn critical, as they do when an agent starts again", () => {
    const now = four.map((instance) => ({ ...instance, healthy: false }));
    const result = given({ before: four, now });
    expect(usable(result)).toEqual([1, 2, 3, 4]);
    expect(result.instances).toHaveLength(4);
  });

  test("when a share that the operator has set goes", () => {
    expect(heldPorts(given({ before: four, now: four.slice(1), share: 0.25 }))).toEqual([1]);
    expect(heldPorts(given({ before: four, now: four.slice(2), share: 0.75 }))).toEqual([]);
    expect(given({ before: four, now: [] }).held.get(instanceKey(at("a", 1)))?.why).toBe(
      "4 of 4 services were gone at once",
    );
  });

  test("when every service loses most of its instances, though none loses all", () => {
    const before = ["a", "b", "c", "d"].flatMap((service, index) => many(service, 10, index * 10 + 1));
    const result = given({ before, now: before.filter(({ port }) => port % 10 === 1) });
    expect(usable(result)).toHaveLength(40);
    expect(result.held.get(instanceKey(at("a", 2)))?.why).toBe("36 of 40 instances were gone at once");
  });

  test("when all that is routed goes, and much stays that is not", () => {
    const others = many("worker", 20, 100, { tags: [] });
    expect(heldPorts(given({ before: [...four, ...others], now: others }))).toEqual([1, 2, 3, 4]);
  });

  test("after Consul was lost, be it one", () => {
    expect(heldPorts(given({ before: four, now: four.slice(1), doubt: "Consul was lost" }))).toEqual([1]);
  });
});

test.each<[string, Partial<Instance>]>([
  ["asks for no traffic", { tags: [] }],
  ["has an address that is none", { address: "evil.example.com" }],
  ["has a port that is none", { port: 70_000 }],
  ["has a name that is none", { service: "a\u001b[2J" }],
  ["has a bad option", { meta: { weight: "heavy" } }],
])("what %s is never held, so nothing is sent there", (_, bad) => {
  const before = [...four, instance("bad", 22, bad)];
  const result = given({ before, now: [], doubt: "Consul was lost" });
  expect(heldPorts(result)).toEqual([1, 2, 3, 4]);
});

describe("Consul's nodes are heard one by one", () => {
  const start = 1_000_000;
  const four = ["a", "b", "c", "d"].map((service, node) => instance(service, node + 1, { node: `n${node}` }));
  const first = given({ before: four, now: four.slice(1), time: start });

  test("what goes within moments counts together, and what has gone already comes back", () => {
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

  test("what goes from the same node in two answers does not", () => {
    const same = four.map((each) => ({ ...each, node: "n" }));
    const one = given({ before: same, now: same.slice(1), time: start });
    const two = given({ before: one.instances, lost: one.lost, now: same.slice(2), time: start + 100 });
    expect(usable(two)).toEqual([3, 4]);
  });

  test("what goes later is another matter", () => {
    const second = given({
      before: first.instances,
      lost: first.lost,
      now: four.slice(2),
      time: start + 2_000,
    });
    expect(usable(second)).toEqual([3, 4]);
  });

  test("time goes on from each loss, whatever happens meanwhile", () => {
    const between = given({ ...first, before: first.instances, now: four.slice(1), time: start + 1_500 });
    const late = given({
      before: between.instances,
      lost: between.lost,
      now: four.slice(2),
      time: start + 2_500,
    });
    expect(usable(late)).toEqual([3, 4]);
  });

  test("what went moments before Consul did is doubted as well", () => {
    const doubt = "Consul was lost";
    const lost = given({ before: first.instances, lost: first.lost, now: four.slice(1), doubt });
    expect(usable(lost)).toEqual([1, 2, 3, 4]);
  });

  test("what has come back is no loss", () => {
    const back = given({ before: first.instances, lost: first.lost, now: four });
    expect(back.lost).toEqual([]);
    const again = given({ before: four, lost: first.lost, now: four.slice(1), time: start + 1 });
    expect(usable(again)).toEqual([2, 3, 4]);
  });
});

describe("what is held is let go", () => {
  const first = given({ before: four, now: [] });
  const next = (input: Partial<HoldInput>) => given({ before: first.instances, held: first.held, ...input });

  test("when it registers again", () => {
    const result = next({ now: [at("a", 1)] });
    expect(usable(result)).toEqual([1, 2, 3, 4]);
    expect(heldPorts(result)).toEqual([2, 3, 4]);
  });

  test("when nothing listens there", () => {
    expect(usable(next({ gone: new Set([place(at("b", 2))]) }))).toEqual([1, 3, 4]);
  });

  test("when its port is another service's", () => {
    expect(heldPorts(next({ now: [at("x", 3)] }))).toEqual([1, 2, 4]);
  });

  test("when the time is over, and not before", () => {
    expect(heldPorts(next({ time: 1_059_999 }))).toHaveLength(4);
    expect(heldPorts(next({ time: 1_060_000 }))).toEqual([]);
  });

  test("but time goes on from the first loss, whatever is doubted since", () => {
    expect(next({ time: 1_030_000, doubt: "Consul was lost" }).held.get(instanceKey(at("a", 1)))?.since).toBe(
      1_000_000,
    );
  });
});
