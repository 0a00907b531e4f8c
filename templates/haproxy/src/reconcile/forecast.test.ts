import { expect, test } from "vitest";
import { emptyStack, type PlannedStack, type StackService } from "../../../../routing/planned";
import { forecastStack } from "./forecast";

const service = (name: string, more: Partial<StackService> = {}): StackService => ({
  name,
  type: "rest",
  replicas: 1,
  runs: "build hello",
  ...more,
});
const stack = (services: StackService[], ports: Record<string, number> = { httpPort: 80 }): PlannedStack => ({
  services,
  ports,
});
const one = stack([service("a")]);

test.each<[string, PlannedStack, PlannedStack, string, string]>([
  ["nothing", one, one, "nothing", "nothing to do"],
  [
    "scaling up",
    one,
    stack([service("a", { replicas: 3 })]),
    "operations",
    "2 operations, no reload: a +2 instances",
  ],
  [
    "scaling down",
    stack([service("a", { replicas: 2 })]),
    one,
    "operations",
    "1 operation, no reload: a -1 instance",
  ],
  [
    "a new service of the ordinary profile",
    one,
    stack([service("a"), service("b")]),
    "operations",
    "2 operations, no reload: b +1 instance, route /b -> b",
  ],
  [
    "a new service with options of its own",
    one,
    stack([service("a"), service("b", { meta: { balance: "leastconn" } })]),
    "reload",
    "a reload, because service b is new and has options of its own",
  ],
  [
    "a new TCP port",
    one,
    stack([service("a"), service("db", { type: "tcp", meta: { tcp_port: "5432" } })]),
    "reload",
    "a reload, because TCP port 5432 of service db is new; service db is new and has options of its own",
  ],
  [
    "another image",
    one,
    stack([service("a", { runs: "shop:2" })]),
    "operations",
    "the instances of a are replaced one by one, no reload",
  ],
  [
    "another image and another number",
    one,
    stack([service("a", { runs: "shop:2", replicas: 2 })]),
    "operations",
    "1 operation, no reload: a +1 instance; the instances of a are replaced one by one",
  ],
  [
    "another port of the load balancer",
    one,
    stack([service("a")], { httpPort: 81 }),
    "replacement",
    "the load balancers are replaced, because httpPort changes from 80 to 81; a new container takes over each, so no request fails on a port that stays",
  ],
  [
    "a first deployment",
    emptyStack,
    one,
    "operations",
    "2 operations, no reload: a +1 instance, route /a -> a",
  ],
])("%s", (_, before, after, kind, sentence) => {
  expect(forecastStack(before, after)).toMatchObject({ kind, sentence });
});

test("says what the replacement of a load balancer costs, though no route changes", () => {
  const [local, b] = [
    { node: "local", pauses: false },
    { node: "b", pauses: false },
  ];
  expect(forecastStack(one, one, {}, [local, b])).toEqual({
    kind: "replacement",
    reasons: [],
    rolled: [],
    sentence:
      "the load balancers of local, b are replaced; a new container takes over each, so no request fails",
  });
  expect(forecastStack(one, one, {}, [local, { ...b, pauses: true }]).sentence).toBe(
    "the load balancers of local, b are replaced; b cannot be reached for a few seconds",
  );
  const moved = stack([service("a", { runs: "shop:2" })], { httpPort: 81 });
  expect(forecastStack(one, moved, {}, [local])).toMatchObject({
    rolled: ["a"],
    sentence:
      "the load balancer of local is replaced, because httpPort changes from 80 to 81; a new container takes over each, so no request fails on a port that stays; the instances of a are replaced one by one",
  });
});
