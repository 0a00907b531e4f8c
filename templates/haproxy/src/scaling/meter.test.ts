import { expect, test } from "vitest";
import { Meter, type ServiceLoad } from "./meter";

const load = (requests: Readonly<Record<string, number>>, more: Partial<ServiceLoad> = {}): ServiceLoad => ({
  service: "hello/v1",
  concurrent: 0,
  queued: 0,
  errors: 0,
  requests: new Map(Object.entries(requests)),
  ...more,
});

/** What the second of two readings, two seconds apart, gives. */
function figures(before: ServiceLoad | undefined, after: ServiceLoad, held = 0) {
  const meter = new Meter();
  const none = new Map<string, number>();
  meter.measure({ loads: before === undefined ? [] : [before], held: none }, 5_000);
  return meter.measure({ loads: [after], held: new Map([["hello/v1", held]]) }, 7_000).get("hello/v1");
}

test("current requests are those of the moment, rates those since the last reading", () => {
  const before = load({ a: 100, b: 10 }, { errors: 3 });
  const after = load({ a: 140, b: 20 }, { concurrent: 42, queued: 3, errors: 5 });
  expect(figures(before, after, 7)).toEqual({ concurrent: 42, queued: 3, held: 7, rate: 25, errors: 1 });
});

test.each([
  ["a service that has not been read before has no rates", undefined, load({ a: 100 }, { errors: 9 }), 0],
  ["an instance that is new counts from zero", load({ a: 100 }), load({ a: 100, b: 8 }), 4],
  ["an instance that is gone does not make the rate negative", load({ a: 100, b: 8 }), load({ a: 102 }), 1],
  ["counters that a reload has reset do not either", load({ a: 100 }, { errors: 9 }), load({ a: 2 }), 0],
])("%s", (_, before, after, rate) => {
  expect(figures(before, after)).toMatchObject({ rate, errors: 0 });
});
