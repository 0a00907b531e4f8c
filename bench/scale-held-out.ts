/**
 * Traces that no rule was chosen by, for `script/bench scale`: put together at random from pieces of every kind, so that rules
 * which suit the ten named traces by chance do not suit these.
 */
import { generator, normal } from "./scale-random";
import { slope, traceOf, type Shape, type Trace } from "./scale-traces";

const hours = 3;

/** A piece of a trace: from a level to a level, with what happens on the way. */
interface Piece {
  readonly fromSecond: number;
  readonly seconds: number;
  readonly from: number;
  readonly to: number;
  readonly kind: "steady" | "ramp" | "noise" | "wave" | "spikes" | "saw";
  /** How strong: of noise the deviation, of a wave the amplitude, of spikes the factor. */
  readonly strength: number;
  /** How long a wave, a spike with its pause, or a tooth is. */
  readonly period: number;
}

const kinds = ["steady", "ramp", "noise", "wave", "spikes", "saw"] as const;

function pieces(random: () => number): Piece[] {
  const all: Piece[] = [];
  const level = (): number => 20 * Math.exp(random() * Math.log(40));
  let from = level();
  for (let fromSecond = 0; fromSecond < hours * 3600;) {
    const kind = kinds[Math.floor(random() * kinds.length)] ?? "steady";
    const seconds = Math.ceil(60 * Math.exp(random() * Math.log(40)));
    const to = kind === "ramp" ? level() : from;
    all.push({ fromSecond, seconds, from, to, kind, strength: random(), period: 20 + random() * 400 });
    fromSecond += seconds;
    // Half of the pieces begin with a step.
    from = random() < 0.5 ? level() : to;
  }
  return all;
}

function shapeOf(all: readonly Piece[]): Shape {
  let index = 0;
  let factor = 1;
  return (second, random) => {
    while (index < all.length - 1 && second >= (all[index + 1]?.fromSecond ?? Infinity)) index++;
    const { fromSecond, seconds, from, to, kind, strength, period } = all[index] ?? raised;
    const at = second - fromSecond;
    if (at % 20 === 0) factor = Math.exp((strength / 2) * normal(random));
    const phase = (at % period) / period;
    switch (kind) {
      case "steady":
        return from;
      case "ramp":
        return slope(at, seconds, from, to);
      case "noise":
        return from * factor;
      case "wave":
        return from * (1 + strength * 0.8 * Math.sin(2 * Math.PI * phase));
      case "spikes":
        return phase < 0.25 ? from * (1 + strength * 9) : from;
      case "saw":
        return from * (0.3 + 1.4 * phase);
    }
  };
}

const raised: Piece = { fromSecond: 0, seconds: 1, from: 0, to: 0, kind: "steady", strength: 0, period: 1 };

/** So many traces of three hours. */
export const heldOutTraces = (count: number): readonly Trace[] =>
  Array.from({ length: count }, (_, index) => {
    const shape = shapeOf(pieces(generator(90_000 + index)));
    return traceOf(`held out ${index}`, hours, shape, 1, 0, 95_000 + index);
  });
