import { expect, test } from "vitest";
import { nodesWanted, tasksIn } from "./room";

const noRoom = { State: "pending", Err: "no suitable node (insufficient resources on 2 nodes)" };

const task = (id: string, status: object, reservations: object = {}) => ({
  ID: id,
  ServiceID: "s",
  DesiredState: "running",
  Status: status,
  Spec: { Resources: { Reservations: reservations } },
});

test.each<[string, object[], number]>([
  ["nothing waits", [task("a", { State: "running" })], 0],
  ["two of half a node", [task("a", noRoom, { NanoCPUs: 2e9 }), task("b", noRoom, { MemoryBytes: 4e9 })], 1],
  ["three of half a node", ["a", "b", "c"].map((id) => task(id, noRoom, { NanoCPUs: 2e9 })), 2],
  ["no reservation", ["a", "b"].map((id) => task(id, noRoom)), 2],
  ["a label is missing", [task("a", { ...noRoom, Err: "no suitable node (scheduling constraints)" })], 0],
])("nodes are wanted: %s", (_, tasks, nodes) => {
  const small = { Description: { Resources: { NanoCPUs: 1e9, MemoryBytes: 1e9 } } };
  const large = { Description: { Resources: { NanoCPUs: 4e9, MemoryBytes: 8e9 } } };
  expect(nodesWanted(tasksIn(tasks), [small, large])).toBe(nodes);
});
