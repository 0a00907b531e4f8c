import { expect, test } from "vitest";
import { range } from "../testing";
import { decide } from "./decide";
import { tickMs } from "./rules";
import type { ServiceState } from "./types";

/** The number of instances at the end, for instances of which each answers 30 of the requests, and others fail. */
function after(
  seconds: number,
  askedAt: (second: number) => number,
  capacity: (instances: number) => number,
) {
  let state: ServiceState | undefined;
  let replicas = 3;
  let held = false;
  for (let nowMs = 0; nowMs < seconds * 1000; nowMs += tickMs) {
    const asked = askedAt(nowMs / 1000);
    const load = { concurrent: asked, rate: asked, errors: Math.max(0, asked - capacity(replicas)) };
    const rest = { ready: replicas, waiting: 0, silent: [], processors: [], wanted: false };
    const { state: next, decision } = decide(state, { nowMs, replicas, load, ...rest }, range());
    state = next;
    held ||= decision.limits.some(({ kind }) => kind === "errors");
    replicas = decision.to;
  }
  return { replicas, held };
}

const spike = (second: number): number => (second < 100 ? 60 : 600);

test("a spike that fails for want of instances is no reason against more of them", () => {
  expect(after(150, spike, (instances) => 30 * instances)).toEqual({ replicas: 29, held: false });
});

const ramp = (second: number): number => Math.max(60, Math.min(600, 60 + (second - 100) * 4));

test("errors that come with more instances, as from a database they share, are", () => {
  const { replicas, held } = after(180, ramp, (instances) => (instances > 5 ? 50 : 150));
  expect({ replicas, held }).toEqual({ replicas: 6, held: true });
});
