/** Inputs that several tests of the status share. */
import { buildRouting } from "../../../../routing/build";
import type { Catalog } from "../../../../routing/types";
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

/** A server of service `a` in HAProxy: down, unless told otherwise. */
export const serverState = (server: string, given: { up?: boolean; maintenance?: boolean } = {}) => ({
  backend: "svc:a",
  server,
  up: false,
  maintenance: false,
  weight: 100,
  ...given,
});
