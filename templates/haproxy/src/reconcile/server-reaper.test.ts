import { expect, test } from "vitest";
import type { Actual, ActualServer } from "../haproxy/types";
import { reapServers } from "./server-reaper";

const origin = { backend: "svc:a", server: "x", service: "a" };
const server = (leaving: boolean): ActualServer => ({ origin, weight: 1, leaving, definition: undefined });
const having = (servers: Readonly<Record<string, ActualServer>>): Actual => ({
  parts: [],
  maps: {} as Actual["maps"],
  backends: new Map([["spare:0", { head: "", servers: new Map(Object.entries(servers)) }]]),
});
const names = (actual: Actual) => [...(actual.backends.get("spare:0")?.servers.keys() ?? [])];
const all = { remove: () => Promise.resolve(true) };

test("leaving servers are deleted, except those that HAProxy still uses", async () => {
  const remove = (_: string, name: string) => Promise.resolve(name !== "busy");
  const before = having({ busy: server(true), idle: server(true), stays: server(false) });
  const { actual, left } = await reapServers(before, { remove, requests: () => Promise.resolve(1) });
  expect(names(actual)).toEqual(["busy", "stays"]);
  expect(left).toBe(1);
});

test("the last servers of a backend stay while it has requests", async () => {
  const before = having({ one: server(true), two: server(true) });
  const during = await reapServers(before, { ...all, requests: () => Promise.resolve(1) });
  expect([names(during.actual), during.left]).toEqual([["one", "two"], 2]);
  const after = await reapServers(before, { ...all, requests: () => Promise.resolve(0) });
  expect([names(after.actual), after.left]).toEqual([[], 0]);
});
