import { expect, test } from "vitest";
import { ok, refuse } from "../../../../routing/grammar";
import type { Figures } from "../../../../routing/scaling/figures";
import { loadsOn, silentOn, updateBoard, type Board } from "./board";

const figures = (sequence: number, concurrent: number): Figures => ({
  sequence,
  index: 1,
  services: new Map([["hello/v1", { concurrent, queued: 2, held: 1, rate: 5, errors: 0.5 }]]),
});

const empty: Board = new Map();
const first = updateBoard(empty, new Map([["n1", ok(figures(1, 10))], ["n2", ok(figures(1, 20))]]), 0); // prettier-ignore

test("loads are the sums over all load balancers, with queued and held requests", () => {
  expect(loadsOn(first).get("hello/v1")).toEqual({ concurrent: 36, rate: 10, errors: 1 });
});

test("a load balancer is silent when its sequence has not changed for 10 s, and keeps its last figures", () => {
  const later = updateBoard(first, new Map([["n1", ok(figures(2, 0))], ["n2", ok(figures(1, 20))]]), 9_000); // prettier-ignore
  expect(silentOn(later, 9_999, 10_000)).toEqual([]);
  expect(silentOn(later, 10_000, 10_000)).toEqual(["n2"]);
  expect(loadsOn(later).get("hello/v1")?.concurrent).toBe(26);
});

test("a value that is refused changes nothing, and counts as silence", () => {
  const later = updateBoard(first, new Map([["n1", refuse("is broken")], ["n2", ok(figures(2, 20))]]), 10_000); // prettier-ignore
  expect(silentOn(later, 10_000, 10_000)).toEqual(["n1"]);
  expect(later.get("n1")).toMatchObject({ problem: "is broken" });
  expect(loadsOn(later)).toEqual(loadsOn(first));
});

test("a load balancer that has not written anything yet is silent", () => {
  expect(silentOn(updateBoard(empty, new Map([["n1", undefined]]), 0), 0, 10_000)).toEqual(["n1"]);
});

test("one that leaves takes its figures with it", () => {
  const later = updateBoard(first, new Map([["n1", ok(figures(2, 10))]]), 2_000);
  expect(loadsOn(later).get("hello/v1")?.concurrent).toBe(13);
  expect(silentOn(later, 60_000, 10_000)).toEqual(["n1"]);
});
