import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { floors } from "../../../../routing/scaling/resources";
import { addValue, bucketOf, emptyHistogram, endOf, halfLifeMs, memoryShape, percentile, processorShape, readHistogram, storeHistogram } from "./histogram"; // prettier-ignore
import { changeOf, changeSentence, recommendCores, recommendMemory } from "./recommend";
import { decideLimit, type Need } from "./decide";
import { addToMinute, samplesOf } from "./minute";
import { addOutOfMemory, addUse, newUsage, readUsage, storeUsage, type Usage } from "./usage";

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;
const mebibyte = 1024 ** 2;
const anyCores = { min: floors.cores, max: 1024 };
const anyMemory = { min: floors.memoryBytes, max: 1024 ** 4 };

/** Usage of so many days, a sample every minute. */
function used(days: number, use: (minute: number) => { cores: number; memoryBytes: number }): Usage {
  let usage = newUsage(0);
  for (let minute = 0; minute < days * 1440; minute++)
    usage = addUse(usage, [use(minute)], minute * minuteMs);
  return usage;
}

describe("histograms", () => {
  test("have buckets that contain their values and are 5 % wider each", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 900, noNaN: true }), (cores) => {
        const bucket = bucketOf(cores, processorShape);
        expect(endOf(bucket, processorShape)).toBeGreaterThanOrEqual(cores * (1 - 1e-9));
        if (bucket > 0) expect(endOf(bucket - 1, processorShape)).toBeLessThanOrEqual(cores * (1 + 1e-9));
      }),
    );
    expect(endOf(0, processorShape)).toBeCloseTo(0.01);
    expect(endOf(1, processorShape)).toBeCloseTo(0.0205);
    expect(endOf(0, memoryShape)).toBeCloseTo(10e6);
  });

  test("forget by half in a day", () => {
    const old = addValue(emptyHistogram(0), processorShape, 4, 0, 3);
    const both = addValue(old, processorShape, 1, halfLifeMs, 1);
    // 3 of a day ago weigh 1.5 times 1 of now.
    expect(percentile(both, processorShape, 0.39)).toBeLessThan(1.1);
    expect(percentile(both, processorShape, 0.41)).toBeGreaterThan(4);
  });

  test("stay finite over years", () => {
    let histogram = emptyHistogram(0);
    for (let day = 0; day < 4_000; day++) histogram = addValue(histogram, processorShape, 1, day * dayMs);
    expect([...histogram.weights.values()].every(Number.isFinite)).toBe(true);
    expect(percentile(histogram, processorShape, 0.9)).toBeGreaterThan(1);
  });

  test("are stored and read within a 10,000th", () => {
    const values = fc.array(fc.tuple(fc.double({ min: 0, max: 64, noNaN: true }), fc.integer({ min: 0, max: 10 * dayMs })), { minLength: 1 }); // prettier-ignore
    fc.assert(
      fc.property(values, (samples) => {
        const sorted = samples.sort(([, a], [, b]) => a - b);
        const histogram = sorted.reduce((sum, [value, atMs]) => addValue(sum, processorShape, value, atMs), emptyHistogram(0)); // prettier-ignore
        const read = readHistogram(JSON.parse(JSON.stringify(storeHistogram(histogram))));
        if (!read.ok) throw new Error(read.error);
        const top = Math.max(...histogram.weights.values());
        for (const [bucket, weight] of histogram.weights)
          expect(Math.abs((read.value.weights.get(bucket) ?? 0) - weight)).toBeLessThanOrEqual(top / 10_000);
      }),
    );
  });

  test.each([
    null,
    [],
    {},
    { at: 0, top: 1, w: [1] },
    { at: 0, top: 1, w: [176, 1] },
    { at: 0, top: 1, w: [1, 1, 1, 1] },
    { at: 0, top: -1, w: [] },
    { at: 0, top: 1, w: [1, 20_000] },
  ])("%j is refused", (value) => {
    // prettier-ignore
    expect(readHistogram(value).ok).toBe(false);
  });
});

describe("recommendations", () => {
  const steady = used(3, () => ({ cores: 0.5, memoryBytes: 100 * mebibyte }));

  test("are the 90th percentile with 15 % on top", () => {
    const cores = recommendCores(steady, anyCores, 3 * dayMs)?.target ?? 0;
    expect(cores).toBeGreaterThanOrEqual(0.5 * 1.15);
    expect(cores).toBeLessThan(0.5 * 1.15 * 1.06);
    const memory = recommendMemory(steady, anyMemory, 0, 3 * dayMs)?.target ?? 0;
    expect(memory).toBeGreaterThanOrEqual(100 * mebibyte * 1.15);
    expect(memory).toBeLessThan(100 * mebibyte * 1.15 * 1.06);
  });

  test("ignore rare peaks of processor use, but not the day's peak of memory", () => {
    const usage = used(2, (minute) => (minute % 100 === 0 ? { cores: 4, memoryBytes: 400 * mebibyte } : { cores: 0.5, memoryBytes: 100 * mebibyte })); // prettier-ignore
    expect(recommendCores(usage, anyCores, 2 * dayMs)?.target).toBeLessThan(0.62);
    expect(recommendMemory(usage, anyMemory, 0, 2 * dayMs)?.target).toBeGreaterThan(400 * mebibyte);
  });

  test("have bounds that are far apart while there is little history", () => {
    const hour = recommendCores(
      used(1 / 24, () => ({ cores: 0.5, memoryBytes: 0 })),
      anyCores,
      dayMs / 24,
    );
    const week = recommendCores(
      used(7, () => ({ cores: 0.5, memoryBytes: 0 })),
      anyCores,
      7 * dayMs,
    );
    expect(hour?.upper).toBeGreaterThan(10 * (hour?.target ?? NaN));
    expect(week?.upper).toBeLessThan(1.2 * (week?.target ?? NaN));
    expect(hour?.lower).toBeLessThan(week?.lower ?? NaN);
  });

  test("rise after an instance ran out of memory, by 20 % or 100 MiB, whichever is more", () => {
    const after = (bytes: number) => recommendMemory(addOutOfMemory(steady, bytes, 3 * dayMs), anyMemory, 0, 3 * dayMs)?.target ?? 0; // prettier-ignore
    expect(after(100 * mebibyte)).toBeGreaterThanOrEqual(200 * mebibyte * 1.15);
    expect(after(1000 * mebibyte)).toBeGreaterThanOrEqual(1200 * mebibyte * 1.15);
    expect(after(1000 * mebibyte)).toBeLessThan(1300 * mebibyte * 1.15);
  });

  test("never leave the bounds, and never fall below 1.15 times the memory in use", () => {
    const sizes = fc.integer({ min: 1, max: 4_000 }).map((size) => size * mebibyte);
    fc.assert(
      fc.property(fc.array(sizes, { minLength: 1, maxLength: 20 }), sizes, (values, now) => {
        const usage = values.reduce((sum, memoryBytes, day) => addUse(sum, [{ cores: 1, memoryBytes }], day * dayMs), newUsage(0)); // prettier-ignore
        const bounds = { min: 64 * mebibyte, max: 512 * mebibyte };
        const found = recommendMemory(usage, bounds, now, values.length * dayMs);
        for (const value of [found?.target, found?.lower, found?.upper]) {
          expect(value).toBeGreaterThanOrEqual(Math.max(bounds.min, now * 1.15));
          expect(value).toBeLessThanOrEqual(Math.max(bounds.max, now * 1.15));
        }
      }),
    );
  });

  test("need history, and respect the floors", () => {
    expect(recommendCores(newUsage(0), anyCores, 0)).toBeUndefined();
    const idle = used(1, () => ({ cores: 0, memoryBytes: 1 }));
    expect(recommendMemory(idle, anyMemory, 0, dayMs)?.target).toBe(floors.memoryBytes);
    expect(recommendCores(idle, anyCores, dayMs)?.target).toBeCloseTo(0.0115);
  });
});

describe("a limit changes", () => {
  const recommendation = { target: 100, lower: 60, upper: 150, confidenceDays: 3 };
  const after = (hours: number) => hours * 60 * minuteMs;

  test.each<[number | undefined, number, string | undefined]>([
    [undefined, 0, "none yet"],
    [59, 0, "too low"],
    [151, 0, "too high"],
    [80, 11.9, undefined],
    [80, 12, "drifted"],
    [95, 100, undefined],
  ])("from %j after %d h: %j", (current, hours, why) => {
    expect(changeOf(current, recommendation, 0, after(hours))?.why).toBe(why);
  });

  test("with a sentence", () => {
    const change = { from: 64 * mebibyte, to: 128 * mebibyte, why: "too low" } as const;
    expect(changeSentence("memory", change)).toBe(
      "memory 128 MiB instead of 64 MiB: the limit was below what instances need",
    );
  });
});

describe("decisions", () => {
  const bounds = { min: 64 * mebibyte, max: 512 * mebibyte };
  const use = (size: number) => used(2, () => ({ cores: 0.5, memoryBytes: size * mebibyte }));
  const need = (usage: Usage, more: Partial<Need> = {}): Need => ({
    usage,
    usedBytes: 10 * mebibyte,
    outOfMemoryBytes: undefined,
    atMs: 2 * dayMs,
    nowMs: 0,
    ...more,
  });
  const memory = (current: number | undefined, given: Need) =>
    decideLimit("memory", { current: current === undefined ? undefined : current * mebibyte, bounds, changedMs: 0 }, given); // prettier-ignore

  test("set a limit that there was not, in whole MiB", () => {
    const { change, problem } = memory(undefined, need(use(100))) ?? {};
    expect([change?.why, problem]).toEqual(["none yet", undefined]);
    expect(change?.to).toBeGreaterThanOrEqual(115 * mebibyte);
    expect((change?.to ?? 0.5) % mebibyte).toBe(0);
    const cpus = decideLimit("cpus", { current: undefined, bounds: { min: 0.01, max: 8 }, changedMs: 0 }, need(use(100))); // prettier-ignore
    expect(cpus?.change?.to).toBe(Number(cpus?.change?.to.toFixed(2)));
  });

  test("only raise a limit before there is a day of history", () => {
    const hour = used(1 / 24, () => ({ cores: 0.5, memoryBytes: 100 * mebibyte }));
    const early = { atMs: dayMs / 24 };
    for (const current of [undefined, 512])
      expect(memory(current, need(hour, { ...early, nowMs: dayMs }))?.problem).toBe("waits for a day of history");
    const grown = memory(64, need(hour, { ...early, usedBytes: 60 * mebibyte }));
    expect(grown?.change?.why).toBe("too low");
  }); // prettier-ignore

  test("raise a limit at once that an instance has run into, whatever the days before were like", () => {
    const before = used(8, () => ({ cores: 0.5, memoryBytes: 100 * mebibyte }));
    const usage = addOutOfMemory(before, 120 * mebibyte, 8 * dayMs);
    const given = { usedBytes: undefined, outOfMemoryBytes: 120 * mebibyte, atMs: 8 * dayMs };
    const change = memory(120, need(usage, given))?.change;
    expect([change?.why, change?.to]).toEqual(["out of memory", expect.any(Number)]);
    expect(change?.to).toBeGreaterThanOrEqual(220 * mebibyte);
    // The same report changes nothing more.
    expect(memory((change?.to ?? 0) / mebibyte, need(usage, given))?.change).toBeUndefined();
  });

  test("do not pass the highest limit allowed, and say when it is too low", () => {
    expect(memory(300, need(use(600)))?.change?.to).toBe(bounds.max);
    const full = memory(512, need(use(600), { usedBytes: 500 * mebibyte }));
    expect([full?.change, full?.problem]).toEqual([undefined, "instances need more than max allows"]);
  });

  test("are none for a limit that is not automatic", () => {
    const fixed = decideLimit("memory", { current: mebibyte, bounds: undefined, changedMs: 0 }, need(use(100)));
    expect([fixed?.status.auto, fixed?.change, fixed?.problem]).toEqual([false, undefined, undefined]);
  });

  test("never leave the bounds, never lower memory below 1.15 times its use, and need figures", () => {
    const sizes = fc.integer({ min: 1, max: 800 });
    fc.assert(
      fc.property(fc.array(sizes, { minLength: 1, maxLength: 8 }), fc.option(sizes, { nil: undefined }), sizes, fc.option(sizes, { nil: undefined }), fc.nat(24), (days, current, used, ended, hours) => {
        let usage = newUsage(0);
        for (const [day, size] of days.entries())
          for (let minute = 0; minute < 1440; minute += 30)
            usage = addUse(usage, [{ cores: 1, memoryBytes: size * mebibyte }], day * dayMs + minute * minuteMs);
        if (ended !== undefined) usage = addOutOfMemory(usage, ended * mebibyte, days.length * dayMs);
        const now = { atMs: days.length * dayMs, nowMs: hours * 60 * minuteMs, outOfMemoryBytes: (ended ?? 0) * mebibyte };
        const change = memory(current, need(usage, { ...now, usedBytes: used * mebibyte }))?.change;
        if (change !== undefined) {
          expect(change.to).toBeGreaterThanOrEqual(bounds.min);
          expect(change.to).toBeLessThanOrEqual(bounds.max);
          if (change.to < (change.from ?? Infinity)) expect(change.to).toBeGreaterThanOrEqual(used * mebibyte * 1.15);
        }
        const silent = memory(current, need(usage, { ...now, usedBytes: undefined, outOfMemoryBytes: undefined }));
        expect(silent?.change).toBeUndefined();
      }),
    );
  });
}); // prettier-ignore

test("a minute has each instance's mean of processor use, and its peak of memory", () => {
  const one = addToMinute(new Map(), new Map([["a", { cores: 1, memoryBytes: 5 }]]));
  const two = addToMinute(one, new Map([["a", { cores: 2, memoryBytes: 3 }], ["b", { cores: 0, memoryBytes: 1 }]])); // prettier-ignore
  expect(samplesOf(two)).toEqual([
    { cores: 1.5, memoryBytes: 5 },
    { cores: 0, memoryBytes: 1 },
  ]);
});

describe("usage", () => {
  test("has one sample of memory a day, the highest", () => {
    const rising = used(2, (minute) => ({ cores: 0, memoryBytes: (50 + (minute % 1440)) * mebibyte }));
    const weights = [...rising.memory.weights];
    expect(weights.map(([bucket]) => bucket)).toEqual([bucketOf(1489 * mebibyte, memoryShape)]);
    expect(weights[0]?.[1]).toBeCloseTo(1 + 2);
  });

  const usage = used(2, (minute) => ({
    cores: (minute % 40) / 10,
    memoryBytes: (50 + (minute % 500)) * mebibyte,
  }));

  test("is stored in less than 2 kB and recommends the same", () => {
    const text = storeUsage(usage);
    expect(text.length).toBeLessThan(2_000);
    const read = readUsage(text);
    if (!read.ok) throw new Error(read.error);
    const [before, after] = [usage, read.value].map((each) => recommendCores(each, anyCores, 2 * dayMs));
    expect(after?.target).toBe(before?.target);
    expect(recommendMemory(read.value, anyMemory, 0, 2 * dayMs)?.upper).toBe(recommendMemory(usage, anyMemory, 0, 2 * dayMs)?.upper); // prettier-ignore
  });

  test("of somebody else is refused, or can be used", () => {
    const good = JSON.parse(storeUsage(usage)) as Record<string, unknown>;
    const spoilt = fc
      .tuple(fc.constantFrom("v", "since", "n", "cpu", "mem", "peak"), fc.jsonValue())
      .map(([key, value]) => JSON.stringify({ ...good, [key]: value }));
    fc.assert(
      fc.property(fc.oneof(fc.string(), spoilt), (text) => {
        const read = readUsage(text);
        if (read.ok) expect(recommendCores(read.value, anyCores, 2 * dayMs)?.target ?? 1).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });
});
