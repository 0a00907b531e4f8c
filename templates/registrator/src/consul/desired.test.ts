import { describe, expect, it } from "vitest";
import { desiredOf } from "./desired";
import type { Claim, Service } from "../types";

interface Given extends Partial<Claim> {
  readonly name?: string;
}

const service = (
  container: string,
  by: Claim["by"],
  { name = container, ...claim }: Given = {},
): Service => ({
  container,
  claim: { by, protocol: "tcp", startMs: 0, ...claim },
  registration: { ID: `n:${container}:80`, Name: name, Address: "10.0.0.1", Port: 8000, Tags: [], Meta: {} },
});
const at = "10.0.0.1:8000";

describe("of two services at one address and port", () => {
  it.each<[string, Service[], string[], string[]]>([
    [
      "a published port is surer than one of the host",
      [service("a", "host"), service("b", "published")],
      [],
      ["b"],
    ],
    ["an owner that asks is surer", [service("a", "published"), service("b", "shared")], [], ["a"]],
    ["an owner that does not ask is less sure", [service("a", "unasked"), service("b", "shared")], [], ["b"]],
    [
      "of two that publish, the last to start has it",
      [service("a", "published", { startMs: 2 }), service("b", "published", { startMs: 1 })],
      ["b"],
      ["a"],
    ],
    [
      "on the host's network, the registered one has it",
      [service("a", "host"), service("b", "host")],
      ["b"],
      ["b"],
    ],
    [
      "even if it was slow to listen",
      [service("a", "host"), service("b", "host", { wasUnused: true })],
      ["b"],
      ["b"],
    ],
    [
      "else the one that was never idle",
      [service("a", "host", { wasUnused: true }), service("b", "host")],
      [],
      ["b"],
    ],
    ["else nobody", [service("a", "host"), service("b", "host")], [], []],
    ["nor with three", [service("a", "host"), service("b", "host"), service("c", "host")], [], []],
    ["two members of one network", [service("a", "shared"), service("b", "shared")], [], []],
    [
      "instances of one service do not compete",
      [service("a", "host", { name: "x" }), service("b", "host", { name: "x" })],
      [],
      ["a", "b"],
    ],
    [
      "protocols do not compete",
      [service("a", "published"), service("b", "published", { protocol: "udp" })],
      [],
      ["a", "b"],
    ],
  ])("%s", (_, all, registered, expected) => {
    const places = new Map(registered.map((name) => [`n:${name}:80`, at]));
    for (const order of [all, all.toReversed()]) {
      const { services, conflicts } = desiredOf(order, new Set(), places);
      expect([...services.values()].map(({ container }) => container).sort()).toEqual(expected);
      expect(conflicts).toHaveLength(all.length - expected.length);
    }
  });

  it("each loser is told who has it, and what to do", () => {
    const { conflicts } = desiredOf([service("a", "published"), service("b", "shared")], new Set());
    expect(conflicts.map(({ why }) => why)).toEqual([
      `its address, ${at}, is that of a (container a); if it does not listen there, set SERVICE_80_IGNORE=true`,
    ]);
    const stale = [service("a", "published", { startMs: 1 }), service("b", "published", { startMs: 2 })];
    expect(desiredOf(stale, new Set()).conflicts.map(({ why }) => why)).toEqual([
      `its address, ${at}, is that of b (container b)`,
    ]);
  });

  it("one that is about to end still has it", () => {
    const { services, conflicts } = desiredOf([service("a", "host")], new Set(), new Map(), [
      service("b", "host"),
    ]);
    expect(services).toEqual(new Map());
    expect(conflicts).toMatchObject([
      { why: expect.stringContaining("may be that of b (container b)") as string },
    ]);
  });
});
