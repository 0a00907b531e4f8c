import { expect, test } from "vitest";
import { toText } from "./diff-format";
import { emptyStack, type PlannedStack, type StackService } from "./planned";
import { compareStacks, replacedServices, withCounts } from "./stack-diff";

const ports = { httpPort: 80, statsPort: 1936 };
const service = (name: string, more: Partial<StackService> = {}): StackService => ({
  name,
  type: "rest",
  replicas: 1,
  runs: "build hello",
  meta: {},
  ...more,
});
const stack = (...services: StackService[]): PlannedStack => ({ services, ports });
const ranged = (min: number, max: number): Partial<StackService> => ({
  replicas: Math.max(1, min),
  range: { min, max, targets: { concurrent: 30 } },
});

test.each<[string, PlannedStack, PlannedStack, string[]]>([
  ["nothing", stack(service("a")), stack(service("a")), []],
  ["a first deployment", emptyStack, stack(service("a", { replicas: 2 })), ["+ /a -> a", "+ a: 2 instances"]],
  [
    "instance counts",
    stack(service("a", { replicas: 3 })),
    stack(service("a", { replicas: 6 })),
    ["~ a: 6 instances, was 3 instances"],
  ],
  [
    "no instances left",
    stack(service("a")),
    stack(service("a", { replicas: 0 })),
    ["~ a: 0 instances, 1 not passing, was 1 instance"],
  ],
  [
    "a range instead of a number in it",
    stack(service("a", { replicas: 3 })),
    stack(service("a", ranged(1, 5))),
    ["~ a replicas: 1 to 5 (target 30), was 3"],
  ],
  [
    "a range instead of a number above it",
    stack(service("a", { replicas: 9 })),
    stack(service("a", ranged(1, 5))),
    ["~ a: 5 instances, was 9 instances", "~ a replicas: 1 to 5 (target 30), was 9"],
  ],
  [
    "another range, in which any number may run",
    stack(service("a", ranged(1, 5))),
    stack(service("a", ranged(2, 5))),
    ["~ a replicas: 2 to 5 (target 30), was 1 to 5 (target 30)"],
  ],
  [
    "a number instead of a range",
    stack(service("a", ranged(1, 5))),
    stack(service("a", { replicas: 3 })),
    ["~ a replicas: 3, was 1 to 5 (target 30)"],
  ],
  ["the same range", stack(service("a", ranged(0, 5))), stack(service("a", ranged(0, 5))), []],
  [
    "limits and image",
    stack(service("a", { cpus: 0.5 })),
    stack(service("a", { memory: "64m", runs: "shop:1.4.3" })),
    ["~ a image: shop:1.4.3, was build hello", "~ a cpus: not set, was 0.5", "~ a memory: 64m, was not set"],
  ],
  [
    "an automatic limit",
    stack(service("a", { memory: "64m", cpus: 1 })),
    stack(service("a", { memory: "auto (64m to 1g)", cpus: "auto (0.1 to 2)" })),
    ["~ a cpus: auto (0.1 to 2), was 1", "~ a memory: auto (64m to 1g), was 64m"],
  ],
  [
    "workers, which have no route",
    stack(service("a", { type: "none" }), service("b", { type: "none" })),
    stack(service("a", { type: "none", replicas: 2 }), service("c", { type: "none", runs: "jobs:1" })),
    ["~ a: 2 instances, was 1 instance", "- b: 1 instance", "+ c: 1 instance"],
  ],
  [
    "settings of the container",
    stack(service("a", { settings: { volumes: "data:/data", user: "app" } })),
    stack(service("a", { settings: { volumes: "data:/var", init: "true" } })),
    ["~ a volumes: data:/var, was data:/data", "~ a init: true, was not set", "~ a user: not set, was app"],
  ],
  [
    "weight, once for all instances",
    stack(service("a", { replicas: 3 })),
    stack(service("a", { replicas: 3, meta: { weight: "50" } })),
    ["~ a weight: 50, was not set"],
  ],
])("the difference is shown: %s", (_, before, after, lines) => {
  expect(toText(compareStacks(before, after))).toEqual(lines);
});

test("shares in Consul's KV move to other versions when one is removed", () => {
  const kv = { "service/haproxy/versions/shop": "v1=90,v2=10" };
  const both = stack(service("shop/v1"), service("shop/v2"));
  expect(toText(compareStacks(both, stack(service("shop/v1")), kv))[0]).toBe(
    "~ /shop -> shop/v1, was 90% shop/v1, 10% shop/v2",
  );
});

test("any change but the number of instances replaces them", () => {
  const before = stack(service("a"), service("b"), service("c", { meta: { x: "1", y: "2" } }));
  const after = stack(
    service("a", { replicas: 5 }),
    service("b", { memory: "64m" }),
    service("c", { meta: { y: "2", x: "1" } }),
    service("new"),
  );
  expect(replacedServices(before, stack(service("a", ranged(1, 5))))).toEqual([]);
  expect(replacedServices(before, after).map(({ name }) => name)).toEqual(["b"]);
});

test("a service in a range keeps as many instances as it has", () => {
  const counts = (before: Partial<StackService>, after: Partial<StackService>) =>
    withCounts(stack(service("a", before)), stack(service("a", after))).map(
      ({ services }) => services[0]?.replicas,
    );
  expect(counts({ replicas: 3 }, ranged(1, 5))).toEqual([3, 3]);
  expect(counts({ replicas: 0 }, ranged(0, 5))).toEqual([0, 1]);
  expect(counts(ranged(1, 5), ranged(2, 5))).toEqual([2, 2]);
  expect(counts({ replicas: 3 }, { replicas: 6 })).toEqual([3, 6]);
});
