import { describe, expect, test } from "vitest";
import { during, range, run, type TickInput } from "../testing";
import { decide } from "./decide";
import { reasonSentence } from "./reasons";
import { defaultRules } from "./rules";

const last = (
  inputs: readonly TickInput[],
  ...rest: [Parameters<typeof run>[1], Parameters<typeof run>[2]?]
) => run(inputs, ...rest).at(-1)?.decision;
const decideOnce = (...args: [Parameters<typeof decide>[1], Parameters<typeof decide>[2]]) =>
  decide(undefined, ...args).decision;
/** The number of instances after each tick. */
const counts = (...args: Parameters<typeof run>) => run(...args).map(({ decision }) => decision.to);

describe("the wish", () => {
  test("follows from load, target and utilisation, and says so", () => {
    const decision = last(during(60, { concurrent: 42 }), range({ targets: { concurrent: 21 } }));
    expect(decision).toMatchObject({ kind: "keep", to: 3, wish: 3 });
    expect(decision && reasonSentence(decision)).toBe("42 concurrent, target 21 at 70 %: 3");
  });

  test("takes the highest of several signals", () => {
    const targets = { concurrent: 30, rate: 10, processor: 0.5 };
    const decision = last(during(60, { concurrent: 21, rate: 35, use: 0.5 }), range({ targets }), {
      first: 2,
    });
    expect(decision?.basis).toMatchObject({ kind: "load", signal: "rate", wish: 5 });
    const busy = last(during(2, { concurrent: 21, rate: 7, use: 0.9 }), range({ targets }), { first: 4 });
    expect(busy && reasonSentence(busy)).toBe("4 instances at 90 % of the processor, target 50 %: 8");
    expect(busy?.to).toBe(8);
  });

  test("is what runs while use is within 12 % of the target", () => {
    expect(last(during(60, { concurrent: 235 }), range(), { first: 10 })).toMatchObject({ wish: 10 });
    const decision = last(during(60, { concurrent: 236 }), range(), { first: 10 });
    expect(decision).toMatchObject({ wish: 12, to: 12 });
  });

  test("is a whole number of instances in spite of rounding", () => {
    // 21 / (2 × 0.7) is a little more than 15 in floating point.
    const decision = last(during(2, { concurrent: 21 }), range({ targets: { concurrent: 2 } }), { first: 1 });
    expect(decision?.wish).toBe(15);
  });
});

describe("up", () => {
  test("a spike of ten times is answered at the first tick that sees it", () => {
    const runs = run([...during(120, { concurrent: 60 }), ...during(10, { concurrent: 600 })], range(), {
      first: 3,
    });
    const first = runs.find(({ decision }) => decision.kind === "up");
    expect(first?.nowMs).toBe(120_000);
    expect(first?.decision.panic).toBe(true);
  });

  test("a burst gets all that it asks for at once", () => {
    expect(last(during(2, { concurrent: 1_200 }), range(), { first: 3 })).toMatchObject({
      kind: "up",
      to: 58,
      panic: true,
    });
  });

  test("a rise that is no burst gets at most four or 100 % in 15 s, whichever is more", () => {
    const rise = [...during(2, { concurrent: 310 }), ...during(20, { concurrent: 600 })];
    const to = counts(rise, range(), { first: 8, startTicks: 0 });
    expect(to.slice(0, 9)).toEqual([15, 16, 16, 16, 16, 16, 16, 16, 28]);
  });

  test("not while tasks wait for room", () => {
    const decision = last(during(10, { concurrent: 600, waiting: 2 }), range(), { first: 3 });
    expect(decision).toMatchObject({ kind: "keep", to: 3 });
    expect(decision && reasonSentence(decision)).toContain("none more while 2 tasks wait for room");
  });

  test("not for a minute while errors rise with the instances, then again", () => {
    const fine = during(60, { concurrent: 60, rate: 100, errors: 0 });
    const failing = { rate: 100, errors: 40 };
    const inputs = [
      ...fine,
      ...during(2, { concurrent: 600, rate: 100 }),
      ...during(12, { concurrent: 600, ...failing }),
      ...during(80, { concurrent: 1_500, ...failing }),
    ];
    const runs = run(inputs, range(), { first: 3 });
    const ups = runs.filter(({ decision }) => decision.kind === "up").map(({ nowMs }) => nowMs / 1000);
    expect(ups.slice(0, 2)).toEqual([60, 62]);
    const held = runs.filter(({ decision }) => decision.limits.some(({ kind }) => kind === "errors"));
    expect(held[0]?.nowMs).toBe(74_000);
    expect(held[0] && reasonSentence(held[0].decision)).toMatch(
      /errors have risen from [\d.]+ % to \d+ % since there were \d+/,
    );
    expect(ups[2]).toBe(130);
  });

  test("errors while too few instances serve do not count", () => {
    const inputs = [
      ...during(60, { concurrent: 60, rate: 100 }),
      ...during(40, { concurrent: 900, rate: 100, errors: 40 }),
    ];
    const runs = run(inputs, range(), { first: 3, startTicks: 40 });
    expect(runs.flatMap(({ decision }) => decision.limits).some(({ kind }) => kind === "errors")).toBe(false);
  });
});

describe("down", () => {
  const fall = [...during(60, { concurrent: 420 }), ...during(600, { concurrent: 21 })];

  test("as soon as neither the last minute nor the last seconds need them, and by half in 15 s", () => {
    const runs = run(fall, range(), { first: 20 });
    const downs = runs.filter(({ decision }) => decision.kind === "down");
    // The mean of a minute falls by a twentieth each 3 s.
    expect(downs.slice(0, 3).map(({ nowMs, decision }) => [nowMs, decision.to])).toEqual([
      [70_000, 18],
      [72_000, 17],
      [76_000, 16],
    ]);
    expect(downs.at(-1)?.decision.to).toBe(1);
    expect(
      runs.some(({ decision }) => reasonSentence(decision).includes("were needed in the last 6 s")),
    ).toBe(true);
  });

  test("not in the first 60 s of a new leader, which knows nothing", () => {
    const runs = run(during(62, { concurrent: 0 }), range(), { first: 20 });
    expect(runs.slice(0, 30).every(({ decision }) => decision.to === 20)).toBe(true);
    expect(runs[1] && reasonSentence(runs[1].decision)).toContain(
      "none fewer for 58 s, until the load with 20 is known",
    );
    expect(runs[30]?.decision).toMatchObject({ kind: "down", to: 10 });
  });

  test("not while a load balancer is silent", () => {
    const silent = during(900, { concurrent: 0, silent: true });
    const runs = run(silent, range(), { first: 5 });
    expect(runs.every(({ decision }) => decision.to === 5)).toBe(true);
    const decision = runs.at(-1)?.decision;
    expect(decision && reasonSentence(decision)).toContain("none fewer while n1 sends no figures");
  });

  test("not for 30 s after a burst, even with shorter windows", () => {
    const rules = { ...defaultRules, downWindowMs: 2_000, stableMs: 2_000 };
    const burst = [
      ...during(10, { concurrent: 30 }),
      ...during(6, { concurrent: 600 }),
      ...during(28, { concurrent: 0 }),
    ];
    const runs = run(burst, range(), { rules });
    expect(runs.some(({ decision }) => decision.kind === "down")).toBe(false);
    expect(runs.at(-1)?.decision.limits).toContainEqual(expect.objectContaining({ kind: "panic" }));
  });
});

describe("the range", () => {
  test("a changed one is in force at the next tick, past every window", () => {
    expect(last(during(2, { concurrent: 300 }), range({ max: 4 }), { first: 30 })).toMatchObject({
      kind: "down",
      to: 4,
    });
    expect(last(during(2, { concurrent: 0 }), range({ min: 30 }), { first: 2 })).toMatchObject({
      kind: "up",
      to: 30,
    });
  });

  test("limits the wish", () => {
    const decision = last(during(2, { concurrent: 3_000 }), range({ max: 8 }), { first: 8 });
    expect(decision && reasonSentence(decision)).toBe("3000 concurrent, target 30 at 70 %: 143; at most 8");
  });
});

describe("processor use", () => {
  const processor = range({ targets: { processor: 0.5 } });

  test("of an instance that starts does not count", () => {
    const fresh = { startedMs: 0, use: 1 };
    const old = { startedMs: -60_000, use: 0.4 };
    const at = (nowMs: number) => ({ nowMs, replicas: 2, ready: 2, waiting: 0, wanted: false, silent: [], processors: [old, fresh] }); // prettier-ignore
    const load = { concurrent: 0, rate: 0, errors: 0 };
    // Two instances, each as busy as the old one; then their own use.
    expect(decideOnce({ ...at(28_000), load }, processor).wish).toBe(2);
    expect(decideOnce({ ...at(30_000), load }, processor).wish).toBe(3);
  });

  test("that is not known changes nothing", () => {
    expect(last(during(2, { concurrent: 0 }), processor, { first: 7 })).toMatchObject({ to: 7, wish: 7 });
  });
});
