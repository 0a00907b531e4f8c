import { describe, expect, test } from "vitest";
import { buildRouting } from "../../../../routing/build";
import type { Instance } from "../../../../routing/types";
import { describeTarget } from "../config/routes";
import { render } from "../config/render";
import { eachMap, mapNames } from "../config/types";
import { instance, renderOptions } from "../testing";
import { loaded, plan } from "./planner";
import { describe as tell } from "./report";

test.each([
  [undefined, "route */shop/ -> shop/v2"],
  ["v1", "route */shop/ -> shop/v1"],
  ["v1=10,v2=90", "route */shop/ -> 10% shop/v1, 90% shop/v2"],
  ["v9", "route */shop/ -> nothing"],
])("where a route leads when KV has %s", (value, expected) => {
  const instances = [instance("shop/v1", 1), instance("shop/v2", 2)];
  const kv = value === undefined ? {} : { "service/haproxy/versions/shop": value };
  const after = render(buildRouting({ instances, kv }), renderOptions);
  const empty = { ...loaded(after), maps: eachMap(mapNames, () => new Map<string, string>()) };
  expect(tell(plan(empty, after, after).operations, { backends: [] })).toContain(expected);
});

describe("an instance whose check in Consul does not pass", () => {
  const started = instance("a", 1);
  const starting = instance("a", 2, { warning: true });
  const told = (before: readonly Instance[], now: readonly Instance[]) => {
    const routing = (instances: readonly Instance[]) => buildRouting({ instances, kv: {} });
    const [from, to] = [render(routing(before), renderOptions), render(routing(now), renderOptions)];
    return tell(plan(loaded(from), to, from).operations, routing(now));
  };

  test.each<[string, readonly Instance[], readonly Instance[], string]>([
    [
      "serves while none passes",
      [
        { ...started, healthy: false },
        { ...starting, healthy: false },
      ],
      [{ ...started, healthy: false }, starting],
      "a 10.0.0.1:2 waits for its health check, and serves while none passes",
    ],
    [
      "makes way for one that passes",
      [{ ...started, warning: true }, starting],
      [started, starting],
      "a 10.0.0.1:2 waits for its health check",
    ],
    ["passes", [started, starting], [started, { ...starting, warning: false }], "a + 10.0.0.1:2"],
    [
      "fails",
      [started, instance("a", 2)],
      [started, instance("a", 2, { healthy: false })],
      "a 10.0.0.1:2 fails its health check",
    ],
    ["is deregistered", [started, instance("a", 2)], [started], "a - 10.0.0.1:2"],
  ])("%s", (_, before, now, sentence) => {
    expect(told(before, now)).toBe(sentence);
  });
});

test("very many shares are only counted: a command has to fit HAProxy's buffer", () => {
  const numbers = Array.from({ length: 100 }, (_, index) => index + 1);
  const base = "x".repeat(60);
  const routing = buildRouting({
    instances: numbers.map((number) => instance(`${base}/v${number}`, number)),
    kv: { [`service/haproxy/versions/${base}`]: numbers.map((number) => `v${number}=1`).join() },
  });
  const entry = render(routing, renderOptions).maps["routes.map"].get(`*/${base}/`);
  expect(entry?.text.split("|").at(-1)).toBe("100-versions");
  expect(entry === undefined ? "" : describeTarget(entry)).toBe("100-versions");
});
