import fc from "fast-check";
import { expect, test } from "vitest";
import { broken, during, loads, range, run } from "../testing";
import { reasonSentence } from "./reasons";

const sleepy = range({ min: 0, idleMs: 60_000 });

test("a service without a request for its idle time sleeps", () => {
  const runs = run([...during(10, { concurrent: 30 }), ...during(62, { concurrent: 0 })], sleepy, {
    first: 3,
  });
  const asleep = runs.filter(({ decision }) => decision.to === 0);
  expect(asleep[0]?.nowMs).toBe(70_000);
  expect(asleep[0]?.decision).toMatchObject({ kind: "sleep", from: 2 });
  expect(asleep[0] && reasonSentence(asleep[0].decision)).toBe("no request for 60 s: 0");
});

test("requests that are too short to be seen in progress keep it awake", () => {
  const runs = run(during(200, { concurrent: 0, rate: 0.1 }), sleepy);
  expect(runs.some(({ decision }) => decision.to === 0)).toBe(false);
});

test("not while a load balancer is silent, and not without min 0", () => {
  expect(
    run(during(600, { concurrent: 0, silent: true }), sleepy).some(({ decision }) => decision.to === 0),
  ).toBe(false);
  expect(run(during(600, { concurrent: 0 }), range()).some(({ decision }) => decision.to === 0)).toBe(false);
});

test("the first request wakes it at the next tick with as many instances as are needed", () => {
  const runs = run(
    [...during(62, { concurrent: 0 }), { concurrent: 200, wanted: true }, ...during(4, { concurrent: 200 })],
    sleepy,
  );
  expect(runs[30]?.decision.kind).toBe("sleep");
  expect(runs[31]?.decision).toMatchObject({ kind: "wake", to: 10 });
  expect(runs[31] && reasonSentence(runs[31].decision)).toBe("woken by a request, 200 concurrent: 10");
  expect(runs[32]?.decision).toMatchObject({ kind: "keep", to: 10 });
});

test("a load balancer that asks is enough, before there are any figures", () => {
  const runs = run([...during(62, { concurrent: 0 }), { concurrent: 0, wanted: true }], sleepy);
  expect(runs.at(-1)?.decision).toMatchObject({ kind: "wake", to: 1 });
});

test("an awake service is within its range, a sleeping one has no requests", () => {
  fc.assert(
    fc.property(loads(), (inputs) => {
      const wrong = broken(
        run(inputs, sleepy),
        ({ decision: { to } }, index) => to <= sleepy.max && (to > 0 || inputs[index]?.concurrent === 0),
      );
      expect(wrong).toEqual([]);
    }),
    { numRuns: 50 },
  );
});
