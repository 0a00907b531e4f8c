import { expect, test } from "vitest";
import { sleepSteps, type Sleeper } from "./sleeping";

const awake: Sleeper = {
  decision: { kind: "keep" },
  replicas: 1,
  ready: 1,
  record: undefined,
  served: 20,
  wanted: false,
  isRouted: true,
};
const nothing = { write: false, scale: true, forget: false, answered: false };

test.each<[string, Partial<Sleeper>, number, Partial<typeof nothing>]>([
  ["a service that is awake has none", {}, 99, {}],
  ["before it sleeps, its record is written", { decision: { kind: "sleep" } }, 99, { write: true, scale: false }],
  ["then it stays until its record is in force", { decision: { kind: "sleep" }, record: 10 }, 9, { scale: false }],
  ["then it goes", { decision: { kind: "sleep" }, record: 10 }, 10, {}],
  ["nobody routes to it: it goes at once", { decision: { kind: "sleep" }, isRouted: false }, 0, {}],
  ["somebody else has put it to sleep", { replicas: 0, ready: 0 }, 99, { write: true }],
  ["while it sleeps, it is kept", { replicas: 0, ready: 0, record: 10 }, 99, {}],
  ["while it wakes, it is kept", { ready: 0, record: 10, wanted: true }, 99, {}],
  ["it is awake, but not everywhere", { record: 10, wanted: true }, 19, { answered: true }],
  ["it is awake everywhere", { record: 10 }, 20, { forget: true }],
  ["a request kept it from sleeping", { record: 10 }, 99, { forget: true }],
])("%s", (_, more, inForce, steps) => {
  expect(sleepSteps({ ...awake, ...more }, inForce)).toEqual({ ...nothing, ...steps });
}); // prettier-ignore
