/** Traces of load for `script/bench scale`: concurrent requests of a service, second by second. */
import { generator, normal } from "./scale-random";

export interface Trace {
  readonly name: string;
  /** The concurrent requests in each second. */
  readonly concurrent: readonly number[];
}

/** What an instance is meant to handle, in all traces. */
export const target = 30;

/** The mean number of concurrent requests at a time in seconds. */
export type Shape = (second: number, random: () => number) => number;

const minute = 60;
const hour = 3600;

/** Lets a shape begin anew every `seconds`. */
const every =
  (seconds: number, shape: Shape): Shape =>
  (second, random) =>
    shape(second % seconds, random);

const between = (second: number, from: number, to: number): boolean => second >= from && second < to;

/** A value between `low` and `high` that rises linearly from 0 to `seconds`. */
export const slope = (second: number, seconds: number, low: number, high: number): number =>
  low + (high - low) * Math.min(1, Math.max(0, second / seconds));

const wave = (second: number, low: number, high: number): number =>
  low + ((high - low) * (1 - Math.cos((2 * Math.PI * second) / (24 * hour)))) / 2;

/** A factor around 1 that changes every 30 s, lognormal with this deviation. */
function jitter(deviation: number): Shape {
  let factor = 1;
  return (second, random) => {
    if (second % 30 === 0) factor = Math.exp(deviation * normal(random) - deviation ** 2 / 2);
    return factor;
  };
}

/** Bursts at random, one in four minutes on average, each of 10 to 90 s and two to ten times the usual. */
function bursts(): Shape {
  let until = 0;
  let factor = 1;
  return (second, random) => {
    if (second >= until && random() < 1 / 240) {
      until = second + 10 + random() * 80;
      factor = 2 + random() * 8;
    }
    return second < until ? 60 * factor : 60;
  };
}

const officeHours: Shape = (second) => {
  const day = second / hour;
  if (day < 9) return 30;
  if (day < 9.25) return slope(day - 9, 0.25, 30, 600);
  if (between(day, 12, 13)) return 350;
  return day < 17 ? 600 : slope(day - 17, 1, 600, 30);
};

/** The shapes, with how long each lasts. */
const shapes: readonly (readonly [name: string, hours: number, shape: () => Shape])[] = [
  ["steps: doubled and halved every 10 min", 2, () => every(60 * minute, (t) => [60, 120, 240, 480, 240, 120][Math.floor(t / (10 * minute))] ?? 60)], // prettier-ignore
  ["one step of 5x that stays", 1, () => (t) => (t < 10 * minute ? 80 : 400)],
  ["slow ramp: 20x in 1 h, and back", 2, () => (t) => (t < hour ? slope(t, hour, 30, 600) : slope(t - hour, hour, 600, 30))], // prettier-ignore
  ["fast ramp: 10x in 3 min, 20 min, and back", 1, () => (t) => (t < 30 * minute ? slope(t - 7 * minute, 3 * minute, 60, 600) : slope(t - 30 * minute, 3 * minute, 600, 60))], // prettier-ignore
  ["daily wave, noise of 10 %", 24, () => withJitter((t) => wave(t, 60, 600), 0.1)],
  ["office hours, noise of 10 %", 24, () => withJitter(officeHours, 0.1)],
  ["a spike of 10x for 60 s every 20 min", 2, () => every(20 * minute, (t) => (between(t, 600, 660) ? 600 : 60))], // prettier-ignore
  ["spikes of 10x for 30 s every 4 min", 2, () => every(4 * minute, (t) => (between(t, 120, 150) ? 600 : 60))], // prettier-ignore
  ["noise of 50 %", 2, () => withJitter(() => 240, 0.5)],
  ["bursts at random, 2x to 10x", 2, () => bursts()],
];

function withJitter(shape: Shape, deviation: number): Shape {
  const factor = jitter(deviation);
  return (second, random) => shape(second, random) * factor(second, random);
}

/** The trace of a shape: arrivals are independent, so the number in progress varies like Poisson's around its mean. */
export function traceOf(
  name: string,
  hours: number,
  shape: Shape,
  scale: number,
  phase: number,
  seed: number,
): Trace {
  const random = generator(seed);
  const concurrent = Array.from({ length: Math.round(hours * hour) }, (_, second) => {
    const mean = shape(second + phase, random) * scale;
    return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(random)));
  });
  return { name, concurrent };
}

/**
 * The traces of single services.
 *
 * @param seed of their random numbers. Default: 1000
 */
export const singleTraces = (seed = 1000): readonly Trace[] =>
  shapes.map(([name, hours, shape], index) => traceOf(name, hours, shape(), 1, 0, seed + index));

/** An hour of many services: every shape in turn, each at its own time of its course and of its own size, from 0.1 to 3. */
export function fleet(services: number): readonly Trace[] {
  const random = generator(7);
  return Array.from({ length: services }, (_, index) => {
    const [name, hours, shape] = shapes[index % shapes.length] ?? ["", 1, () => () => 0];
    const phase = Math.floor(random() * Math.max(0, hours - 1) * hour);
    return traceOf(`${name} ${index}`, 1, shape(), 0.1 + random() * 2.9, phase, 5000 + index);
  });
}
