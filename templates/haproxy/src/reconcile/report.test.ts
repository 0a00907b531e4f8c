import { expect, test } from "vitest";
import { buildRouting } from "../../../../routing/build";
import { loaded, plan } from "./planner";
import { render } from "../config/render";
import { eachMap } from "../config/types";
import { describe as tell, logLine, servicesOf, targetOf } from "./report";
import { instance, renderOptions } from "../testing";

test("a message is one line that does nothing to a terminal", () => {
  expect(logLine("Consul: two\r\nlines, \u001b[2J\u202e and ä")).toBe(
    "switchyard: Consul: two | lines, \\u001b[2J\\u202e and ä\n",
  );
});

test.each([
  [undefined, "route */shop/ -> shop/v2"],
  ["v1", "route */shop/ -> shop/v1"],
  ["v1=10,v2=90", "route */shop/ -> 10% shop/v1, 90% shop/v2"],
  ["v9", "route */shop/ -> nothing"],
])("where a route leads when KV has %s", (value, expected) => {
  const instances = [instance("shop/v1", 1), instance("shop/v2", 2)];
  const kv = value === undefined ? {} : { "service/haproxy/versions/shop": value };
  const after = render(buildRouting({ instances, kv }), renderOptions);
  const steps = plan({ ...loaded(after), maps: eachMap(() => new Map()) }, after);
  if (steps.kind !== "operations") throw new Error("a reload");
  expect(tell(steps.operations, servicesOf(steps.operations, after))).toContain(expected);
});

test("shares among very many are not told one by one: a command has to fit a line", () => {
  const numbers = Array.from({ length: 100 }, (_, index) => index + 1);
  const base = "x".repeat(60);
  const routing = buildRouting({
    instances: numbers.map((number) => instance(`${base}/v${number}`, number)),
    kv: { [`service/haproxy/versions/${base}`]: numbers.map((number) => `v${number}=1`).join() },
  });
  const value = render(routing, renderOptions).maps["routes.map"].get(`*/${base}/`) ?? "";
  expect(targetOf(value)).toBe("100-versions");
});
