import { expect, it } from "vitest";
import { networkOwnersOf, problemWithNetwork } from "./shared-network";
import { container, type Given } from "../fixtures";

const at = (second: number) => Date.parse("2026-01-01T10:00:00.5Z") + second * 1_000;
const make = (name: string, mode: string, startedAtMs: number | undefined, more: Partial<Given> = {}) =>
  container({ name, mode, ...(startedAtMs !== undefined && { startedAtMs }), ...more });
const a = make("a", "bridge", at(1));
const b = make("b", "container:id-of-a", at(2));
const c = make("c", "container:id-of-b", at(3));

it("finds the owners through containers that share a network themselves", async () => {
  const all = new Map([a, b, c].map((each) => [each.Id, each]));
  const of = async (id: string) => {
    const found = all.get(id);
    const inspect = (each: string) => Promise.resolve(all.get(each));
    return found && (await networkOwnersOf(found, inspect)).map(({ Name }) => Name);
  };
  expect(await of("id-of-c")).toEqual(["/b", "/a"]);
  expect(await of("id-of-a")).toEqual([]);
  all.delete("id-of-a");
  expect(await of("id-of-c")).toEqual(["/b"]);
});

it.each([
  ["no owner", a, [], undefined],
  ["an owner", b, [a], undefined],
  ["an owner of an owner", c, [b, a], undefined],
  ["an owner of which no start is known", b, [make("a", "bridge", undefined)], undefined],
  [
    "an owner that ended",
    b,
    [make("a", "bridge", at(1), { running: false })],
    "a, whose network it shares, does",
  ],
  [
    "an owner that was restarted",
    b,
    [make("a", "bridge", at(4))],
    "a, whose network it shares, was started after",
  ],
  [
    "an owner's owner that was restarted",
    c,
    [b, make("a", "bridge", at(4))],
    "a, whose network it shares, was",
  ],
  ["an owner that was removed", b, [], "does not exist any more"],
  ["an owner's owner that was removed", c, [b], "does not exist any more"],
])("%s", (_, member, owners, problem) => {
  const found = problemWithNetwork(member, owners);
  if (problem === undefined) expect(found).toBeUndefined();
  else expect(found).toContain(problem);
});
