import { expect, test } from "vitest";
import { backendGuid, serverGuid, countersAfterReload } from "./counters";
import { render, toConfig } from "./render";
import { buildRouting } from "../../../../routing/build";
import { instance, renderOptions } from "../testing";

test("after a reload, the counters of a slot are those of its service", () => {
  const routing = buildRouting({ instances: [instance("shop/v1", 1)], kv: {} });
  const slots = new Map([["svc:shop:v1", "spare:3"]]);
  const running = render(routing, renderOptions, slots);
  const [server] = running.backends[0]?.servers ?? [];
  expect(toConfig(running)).toContain(` guid ${serverGuid("spare:3", server?.name ?? "")} `);
  const dump = [
    "#be guid,bin,bout,",
    "svc:other,1,2,",
    "spare:3,3,4,",
    `${serverGuid("spare:3", server?.name ?? "")},5,6,`,
    "spare:4,7,8,",
    "srv:spare:4_gone::10.0.0.9:1,9,9,",
    "",
  ];
  expect(countersAfterReload(dump.join("\n"), running, slots).split("\n")).toEqual([
    "#be guid,bin,bout,",
    "svc:other,1,2,",
    "svc:shop:v1,3,4,",
    "srv:svc:shop:v1_10.0.0.1:1,5,6,",
    "",
  ]);
});

test("no GUID is longer than HAProxy allows, and no two things share one", () => {
  const name = `svc:${"a".repeat(63)}:${"b".repeat(63)}`;
  expect(backendGuid(name).length).toBeLessThanOrEqual(127);
  expect(backendGuid(name)).not.toBe(backendGuid(`${name}c`));
  expect(serverGuid("svc:a", "10.0.0.1:1")).not.toBe(backendGuid("svc:a:10.0.0.1:1"));
});
