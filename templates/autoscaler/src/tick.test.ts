import { expect, test } from "vitest";
import { ok } from "../../../routing/grammar";
import { updateBoard } from "./figures/board";
import { range } from "./testing";
import { tick, type ScaledService } from "./tick";

const service = (name: string, replicas: number): ScaledService => ({
  name,
  range: range(),
  replicas,
  ready: replicas,
  waiting: 0,
  wanted: false,
  processors: [],
});
const figures = { concurrent: 600, queued: 0, held: 0, rate: 0, errors: 0 };
const board = updateBoard(
  new Map(),
  new Map([["n1", ok({ sequence: 1, index: 1, services: new Map([["busy", figures]]) })]]),
  0,
);

test("each service gets a decision by its own figures; services that are gone are forgotten", () => {
  const one = tick(new Map(), [service("busy", 3), service("quiet", 3)], board, 0);
  expect(one.decisions.get("busy")).toMatchObject({ kind: "up", to: 29 });
  expect(one.decisions.get("quiet")).toMatchObject({ kind: "keep", to: 3, wish: 1 });
  const two = tick(one.states, [service("busy", 7)], board, 2_000);
  expect([...two.states.keys()]).toEqual(["busy"]);
});

test("a silent load balancer keeps every service from shrinking", () => {
  const { decisions } = tick(new Map(), [service("quiet", 3)], board, 10_000);
  expect(decisions.get("quiet")?.limits).toContainEqual({ kind: "silent", balancers: ["n1"] });
});
