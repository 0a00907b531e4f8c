/** Inputs that several tests of the status share. */
import { buildRouting } from "../../../../routing/build";
import type { Catalog } from "../../../../routing/types";
import type { ScalingStatus } from "../../../../routing/scaling/status";
import { instance } from "../testing";
import type { StatusInput } from "./status";

/** What a status is built from: the routing of a catalog, and Consul connected. */
export const statusInput = (catalog: Catalog, given: Partial<StatusInput> = {}): StatusInput => ({
  notReady: undefined,
  failure: undefined,
  pending: [],
  consul: { connected: true, index: 7, lastAnswer: 1_000 },
  routing: buildRouting(catalog),
  states: [],
  proven: new Set(),
  held: [],
  changes: [],
  ...given,
});

/** Two services that are scaled: `a`, which sleeps, and `b`. */
export const scaledCatalog: Catalog = {
  instances: [instance("b", 1)],
  kv: { "service/haproxy/sleeping/a": '{"tags":["rest"],"meta":{}}' },
};

const decided = { swarmName: "x", min: 0, max: 20, ready: 1, waiting: 0, asleep: false, changes: [] };

/** What the autoscaler has decided about them. */
export const scaling: ScalingStatus = {
  node: "node-1",
  dry: false,
  at: "2026-11-29T09:00:00.000Z",
  nodesWanted: 2,
  limits: [
    {
      name: "b",
      swarmName: "x",
      memory: {
        current: 2 ** 27,
        target: 96 * 2 ** 20,
        lower: 80 * 2 ** 20,
        upper: 140 * 2 ** 20,
        auto: true,
      },
      cpus: { target: 0.5, lower: 0.25, upper: 2, auto: false },
      reason: "memory waits for <i>\u202e",
    },
  ],
  services: [
    {
      ...decided,
      name: "a",
      replicas: 0,
      ready: 0,
      wish: 0,
      reason: "no request for 5 min",
      asleep: true,
    },
    {
      ...decided,
      name: "b",
      replicas: 2,
      wish: 3,
      reason: "42 concurrent, target 21 at 70 %: 3",
      waiting: 1,
      changes: [{ at: "2026-11-29T08:59:00.000Z", from: 1, to: 2, reason: "<b>\u202e" }],
      problem: "no node has room",
    },
  ],
};

/** A server of service `a` in HAProxy: down, unless told otherwise. */
export const serverState = (server: string, given: { up?: boolean; maintenance?: boolean } = {}) => ({
  backend: "svc:a",
  server,
  up: false,
  maintenance: false,
  weight: 100,
  ...given,
});
