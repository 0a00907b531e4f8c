import { expect, test } from "vitest";
import { ok } from "../../../../routing/grammar";
import { updateBoard, type Board } from "./board";
import { goneMs, lowestIndex, updateMembers, type Members } from "./members";

const figures = (index: number) => ok({ sequence: index, index, services: new Map() });
const board = (nodes: Readonly<Record<string, number>>, nowMs = 0): Board =>
  updateBoard(
    new Map(),
    new Map(Object.entries(nodes).map(([node, index]) => [node, figures(index)])),
    nowMs,
  );
const none: Members = new Map();
const at = (alive: string[], balancers: string[] = []) => ({
  alive: new Set(alive),
  balancers: new Set(balancers),
});

test("are registered, or write figures on a living node", () => {
  const members = updateMembers(none, at(["n1", "n2", "n3"], ["n1"]), ["n2", "gone"], new Map(), 0);
  expect([...members.keys()]).toEqual(["n1", "n2"]);
});

test("stay for five minutes, so that what Consul loses for a while removes nothing", () => {
  const members = updateMembers(none, at(["n1"], ["n1"]), [], new Map(), 0);
  expect(updateMembers(members, at([]), [], new Map(), goneMs - 1).size).toBe(1);
  expect(updateMembers(members, at([]), [], new Map(), goneMs).size).toBe(0);
});

test("old figures of a load balancer that was removed do not make it one", () => {
  expect(updateMembers(none, at(["n1"]), ["n1"], board({ n1: 1 }), 10_000).size).toBe(0);
});

test("the lowest index is that of the load balancer that is furthest behind", () => {
  expect(lowestIndex(board({ n1: 7, n2: 5 }))).toBe(5);
  expect(lowestIndex(updateBoard(new Map(), new Map([["n1", undefined]]), 0))).toBe(0);
});
