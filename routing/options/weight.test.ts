import { expect, test } from "vitest";
import { buildRouting } from "../build";
import { plannedInstance } from "../planned";
import { read } from "../testing";
import { weight } from "./weight";

test("is 100 by default", () => {
  expect(read(weight, {})).toBe(100);
  expect(read(weight, { weight: "0" })).toBe(0);
});

test.each(["257", "-1", "1e2"])("rejects %j", (value) => {
  expect(read(weight, { weight: value })).toContain("which is not a whole number from 0 to 256");
});

test("may differ between the instances of a service", () => {
  const one = plannedInstance({ name: "a", type: "rest" });
  const instances = [one, { ...one, id: "2", port: 81, meta: { weight: "7" } }];
  const { backends, problems } = buildRouting({ instances, kv: {} });
  expect(backends[0]?.servers.map((server) => server.weight)).toEqual([100, 7]);
  expect(problems).toEqual([]);
});
