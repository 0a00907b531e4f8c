import { expect, test } from "vitest";
import { entriesOf, servicesOf } from "./decode";

const base64 = (text: string) => Buffer.from(text).toString("base64");

test("keys are told without their prefix; what does not look like one is left out", () => {
  const answer = [
    { Key: "p/a", Value: base64("ä"), ModifyIndex: 7, Session: "s" },
    { Key: "p/b", Value: null, ModifyIndex: 8 },
    { Key: "other", Value: "", ModifyIndex: 9 },
    { Key: 1 },
    null,
  ];
  expect([...entriesOf(answer, "p/")]).toEqual([
    ["a", { value: "ä", index: 7, session: "s" }],
    ["b", { value: "", index: 8 }],
  ]);
  expect(entriesOf(null, "p/").size).toBe(0);
});

const instance = (ID: string, ModifyIndex: number, Service = "hello/v1") => ({
  ID,
  Service,
  Tags: ["rest"],
  Meta: { host: "a.example.com" },
  ModifyIndex,
});
const node = (Node: string, ...Services: object[]) => ({ Node: { Node }, Services });

test("instances are ready if neither a check of theirs nor of their node fails", () => {
  const nodes = [
    node("n1", instance("a", 5), instance("b", 4), instance("lb", 1, "rest")),
    node("n2", instance("c", 3), instance("lb", 2, "rest")),
    node("n3", instance("d", 9)),
  ];
  const critical = [
    { Node: "n1", ServiceID: "b", Status: "critical" },
    { Node: "n2", ServiceID: "", CheckID: "serfHealth", Status: "critical" },
  ];
  const warning = [{ Node: "n3", ServiceID: "", Status: "warning" }];
  const { byName, alive, balancers } = servicesOf(nodes, [critical, warning]);
  expect(byName.get("hello/v1")).toEqual({
    ready: 2,
    index: 5,
    registration: { name: "hello/v1", tags: ["rest"], meta: { host: "a.example.com" } },
  });
  expect([[...alive], [...balancers]]).toEqual([["n1", "n3"], ["n1"]]);
});

test("of answers that are none, nothing is known", () => {
  expect(servicesOf([null, {}, node("n", { ID: 1 })], [null, [{}]]).byName.size).toBe(0);
});
