import { expect, test } from "vitest";
import { buildRouting } from "../build";
import { plannedInstance } from "../planned";
import { read } from "../testing";
import { stripPrefix } from "./strip-prefix";

test("is on by default", () => {
  expect(read(stripPrefix, {})).toBe(true);
  expect(read(stripPrefix, { strip_prefix: "false" })).toBe(false);
});

test("applies per target, so versions may differ", () => {
  const instances = [
    plannedInstance({ name: "a/v1", type: "rest", meta: { strip_prefix: "false" } }),
    plannedInstance({ name: "a/v2", type: "rest" }),
  ];
  const { routes } = buildRouting({ instances, kv: { "service/haproxy/versions/a": "v1=50,v2=50" } });
  expect(routes[0]).toMatchObject({
    path: "/a",
    stripPrefix: false,
    targets: [{ stripPrefix: false }, { stripPrefix: true }],
  });
});
