import { expect, it } from "vitest";
import { endsContainer, signalNumber } from "./signals";

it.each([
  ["15", undefined, true],
  ["9", undefined, true],
  ["SIGINT", undefined, true],
  ["1", undefined, false],
  ["10", undefined, false],
  ["3", undefined, false],
  ["3", "SIGQUIT", true],
  ["37", "SIGRTMIN+3", true],
  ["10", "USR1", true],
  ["15", "SIGQUIT", true],
  ["", undefined, false],
])("signal %j with stop signal %j ends a container: %s", (signal, stop, expected) => {
  expect(endsContainer(signal, stop)).toBe(expected);
});

it("reads signals by name and by number", () => {
  expect(["SIGTERM", "term", "15", "SIGRTMAX-1", "nonsense"].map(signalNumber)).toEqual([
    15,
    15,
    15,
    63,
    undefined,
  ]);
});
