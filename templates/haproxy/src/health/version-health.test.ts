import { expect, test } from "vitest";
import { buildRouting } from "../../../../routing/build";
import type { Routing } from "../../../../routing/types";
import type { ServerState } from "../haproxy/commands";
import { instance } from "../testing";
import { VersionHealth } from "./version-health";

const one = "svc:shop:v1/10.0.0.1:1";
const two = "svc:shop:v2/10.0.0.1:2";
const versions = buildRouting({
  instances: [instance("shop/v1", 1), instance("shop/v2", 2), instance("other/v1", 3), instance("alone", 4)],
  kv: {},
});

const state = (server: string, given: Partial<ServerState> = {}): ServerState => {
  const [backend = "", name = ""] = server.split("/");
  return { backend, server: name, up: true, maintenance: false, weight: 100, ...given };
};

/** With what HAProxy answers, look by look. */
function watching(routing: Routing = versions) {
  const proven = new Set([one, two]);
  const asked: (readonly string[])[] = [];
  let answer: readonly ServerState[] | undefined = [];
  let changes = 0;
  const health = new VersionHealth({
    routing: () => routing,
    proven,
    states: (backends) => {
      asked.push(backends);
      return answer === undefined ? Promise.reject(new Error("no socket")) : Promise.resolve(answer);
    },
    changed: () => changes++,
  });
  const look = async (...found: ServerState[]) => {
    answer = found;
    await health.look();
    return [[...health.down], changes] as const;
  };
  const lookInVain = async () => {
    answer = undefined;
    await health.look();
    return [[...health.down], changes] as const;
  };
  return { look, lookInVain, proven, asked };
}

test("only services with several versions are asked about", async () => {
  const { look, asked } = watching();
  await look(state(one), state(two));
  expect(asked).toEqual([["svc:shop:v1", "svc:shop:v2"]]);
  const single = watching(buildRouting({ instances: [instance("shop/v1", 1), instance("a", 2)], kv: {} }));
  await single.look();
  expect(single.asked).toEqual([]);
});

test("reports an instance that goes down and comes back, once each time", async () => {
  const { look, lookInVain } = watching();
  expect(await look(state(one), state(two))).toEqual([[], 0]);
  expect(await look(state(one), state(two, { up: false }))).toEqual([[two], 1]);
  expect(await look(state(one), state(two, { up: false }))).toEqual([[two], 1]);
  expect(await lookInVain()).toEqual([[two], 1]);
  expect(await look(state(one), state(two))).toEqual([[], 2]);
});

test("one that starts, leaves or has only just answered is not down", async () => {
  const { look, proven } = watching();
  proven.delete(two);
  expect(await look(state(one), state(two, { up: false }))).toEqual([[], 0]);
  proven.add(two);
  expect(await look(state(one), state(two, { up: false }))).toEqual([[], 0]);
  expect(await look(state(one), state(two, { up: false }))).toEqual([[two], 1]);
  expect(await look(state(one), state(two, { up: false, maintenance: true }))).toEqual([[], 2]);
});
