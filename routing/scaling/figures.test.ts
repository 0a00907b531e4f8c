import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeFigures, parseFigures, type ServiceFigures } from "./figures";

const none: ServiceFigures = { concurrent: 0, queued: 0, held: 0, rate: 0, errors: 0 };

test("are a line for each service that has anything to tell", () => {
  const services = new Map([
    ["hello/v1", { ...none, concurrent: 42, queued: 3, rate: 118.46 }],
    ["shop", none],
  ]);
  const text = encodeFigures({ sequence: 8734, index: 51203, services });
  expect(text).toBe("switchyard-figures 2 8734 51203\nhello/v1 42 3 0 118.5 0");
  expect(parseFigures(text)).toEqual({
    ok: true,
    value: {
      sequence: 8734,
      index: 51203,
      services: new Map([["hello/v1", { ...none, concurrent: 42, queued: 3, rate: 118.5 }]]),
    },
  });
});

test("500 services take less than 20 kB, far below Consul's limit of 512 KiB", () => {
  const services = new Map(
    Array.from({ length: 500 }, (_, index) => [`team/service${index}`, { concurrent: 100, queued: 1, held: 0, rate: 99.9, errors: 0.1 }]), // prettier-ignore
  );
  expect(encodeFigures({ sequence: 1, index: 1, services }).length).toBeLessThan(20_000);
});

test("what is written is read again", () => {
  const count = fc.integer({ min: 0, max: 9_999_999 });
  const rate = fc.integer({ min: 0, max: 99_999 }).map((tenths) => tenths / 10);
  const figures = fc.record({ concurrent: count, queued: count, held: count, rate, errors: rate });
  const services = fc.dictionary(fc.stringMatching(/^[a-z][a-z0-9]{0,8}(\/v[1-9])?$/), figures);
  fc.assert(
    fc.property(services, fc.nat(), fc.nat(), (given, sequence, index) => {
      const busy = Object.entries(given).filter(([, each]) =>
        Object.values(each).some((number) => number > 0),
      );
      const text = encodeFigures({ sequence, index, services: new Map(Object.entries(given)) });
      expect(parseFigures(text)).toEqual({ ok: true, value: { sequence, index, services: new Map(busy) } });
    }),
  );
});

test.each([
  ["", "starts with"],
  ["switchyard-figures 1 1", "starts with"],
  ["switchyard-figures 2 1", "starts with"],
  ["switchyard-figures 2 1 -1", "starts with"],
  ["switchyard-figures 2 1 1\n", "has the line"],
  ["switchyard-figures 2 1 1\na 1 2 3 4", "which is not a service and five numbers"],
  ["switchyard-figures 2 1 1\na 1 2 3 4 5 6", "has the line"],
  ["switchyard-figures 2 1 1\na 1e3 0 0 0 0", "has the line"],
  ["switchyard-figures 2 1 1\na 99999999 0 0 0 0", "has the line"],
  ["switchyard-figures 2 1 1\na NaN 0 0 0 0", "has the line"],
  ["switchyard-figures 2 1 1\na -1 0 0 0 0", "has the line"],
  ["switchyard-figures 2 1 1\n../x 1 0 0 0 0", "has the line"],
  ["switchyard-figures 2 1 1\na 1 0 0 0 0\na 1 0 0 0 0", 'tells of "a" twice'],
  [`switchyard-figures 2 1 1\n${"x".repeat(600_000)}`, "has more than 524288 bytes"],
  [`switchyard-figures 2 1 1${"\na 1 0 0 0 0".repeat(10_001)}`, "tells of more than 10000 services"],
])("%j is refused", (value, error) => {
  const parsed = parseFigures(value);
  expect(parsed.ok ? "accepted" : parsed.error).toContain(error);
});

test("anything else is refused, or has only sensible numbers", () => {
  const anything = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string().map((line) => `switchyard-figures 2 1 1\n${line}`),
  );
  fc.assert(
    fc.property(anything, (value) => {
      const parsed = parseFigures(value);
      if (!parsed.ok) return;
      for (const each of parsed.value.services.values())
        for (const number of Object.values(each)) expect(number >= 0 && number < 1e7).toBe(true);
    }),
    { numRuns: 1_000 },
  );
});
