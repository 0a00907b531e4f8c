import { percent, numberOption, short, table, verdicts, writeSection } from "./lib";
import { measureFootprint } from "./scale-footprint";
import { hpa, kpa, switchyard, type Scaler } from "./scale-scalers";
import { missingWeight, score, simulate, total, type Outcome } from "./scale-simulator";
import { fleet, singleTraces, target, type Trace } from "./scale-traces";

// (scale) Traces of load through the autoscaler's core and through the published rules of others. Needs no Docker.

const startSeconds = numberOption("start", 10);
const services = numberOption("services", 500);
const minutes = numberOption("minutes", 10);

const contenders: readonly (readonly [name: string, make: () => Scaler])[] = [
  ["Switchyard", () => switchyard()],
  ["HPA", () => hpa()],
  ["KPA", () => kpa()],
];
type Row = readonly [trace: string, outcomes: readonly Outcome[]];

const runAll = (traces: readonly Trace[], make: () => Scaler): Outcome[] =>
  traces.map((trace) => simulate(trace, make(), { startSeconds }));

const isBest = ([, [ours, ...others]]: Row, weight = missingWeight): boolean =>
  ours !== undefined && others.every((each) => score(ours, weight) < score(each, weight));

/** The longest time in seconds from a spike of ten times to the first decision, over all moments between two ticks. */
function firstDecision(make: () => Scaler): number {
  const start = 700;
  const delays = Array.from({ length: 30 }, (_, offset) => {
    const concurrent = Array.from({ length: 900 }, (__, second) => (second < start + offset ? 60 : 600));
    const scaler = make();
    let first: number | undefined;
    const watched: Scaler = {
      ...scaler,
      decide: (seen) => {
        const wanted = scaler.decide(seen);
        if (seen.second >= start + offset && wanted > seen.replicas) first ??= seen.second - start - offset;
        return wanted;
      },
    };
    simulate({ name: "", hours: 0, concurrent }, watched, { startSeconds });
    return first ?? Infinity;
  });
  return Math.max(...delays);
}

function main(): void {
  const singles = singleTraces();
  const many = fleet(services);
  const bySingle = contenders.map(([, make]) => runAll(singles, make));
  const byFleet = contenders.map(([, make]) => total(runAll(many, make), many));
  const rows: Row[] = [
    ...singles.map(({ name }, index): Row => [name, bySingle.flatMap((outcomes) => outcomes[index] ?? [])]),
    [`an hour of ${services} services on 5 nodes, all of these`, byFleet],
  ];
  const footprint = measureFootprint(services, minutes);
  const delays = contenders.map(([, make]) => firstDecision(make));
  const names = contenders.map(([name]) => name);
  const best = rows.filter((row) => isBest(row)).length;
  const cells = (tell: (outcome: Outcome) => string) =>
    rows.map(([trace, outcomes]) => [trace, ...outcomes.map(tell)]);
  const hpaVariants: [string, () => Scaler][] = [
    ["HPA at 100 % of the target", () => hpa({ utilisation: 1 })],
    ["HPA with a metric that is a mean of 15 s", () => hpa({ meanSeconds: 15 })],
  ];
  writeSection(
    "(scale) Decisions of the autoscaler",
    `Each trace through our core and through the rules of Kubernetes' HPA (autoscaling/v2) and Knative's KPA with their defaults, all with
the same figures, a target of ${target} concurrent requests at 70 %, and instances that take ${startSeconds} s to start. Nobody ran Kubernetes or Knative:
the rules are written down in [scale-scalers.ts](scale-scalers.ts), with their sources.

The score is held instance-hours + ${missingWeight} × missing instance-hours; lower is better. [scale-simulator.ts](scale-simulator.ts) says why.

${table(
  ["score", ...names, ""],
  rows.map((row) => [row[0], ...row[1].map((outcome) => short(score(outcome))), isBest(row) ? "best" : ""]),
)}

${table(
  ["requests over target", ...names],
  cells(({ over }) => `${(over * 100).toFixed(2)} %`),
)}

${table(
  ["instance-hours", ...names],
  cells(({ held }) => short(held)),
)}

${table(
  ["changes, and changes of direction", ...names],
  cells(({ changes, reversals }) => `${changes}, ${reversals}`),
)}

How often ours is best of the ${rows.length} if a missing instance counts less or more:

${table(
  ["factor", ...[1, 3, 5, 10, 20, 50, 100].map(String)],
  [
    [
      "best",
      ...[1, 3, 5, 10, 20, 50, 100].map((weight) => String(rows.filter((row) => isBest(row, weight)).length)),
    ],
  ],
)}

The HPA in other ways, as the sum of the scores of the ${singles.length} single traces; in the tables above it has ${short((bySingle[1] ?? []).reduce((sum, each) => sum + score(each), 0))}, ours ${short((bySingle[0] ?? []).reduce((sum, each) => sum + score(each), 0))}:

${table(
  ["", "score"],
  hpaVariants.map(([name, make]) => [
    name,
    short(runAll(singles, make).reduce((sum, each) => sum + score(each), 0)),
  ]),
)}

From a spike of 10x to the first decision, at most: ${names.map((name, index) => `${name} ${delays[index] ?? NaN} s`).join(", ")}. The core by itself, with
${services} services and the figures of 5 load balancers read at every tick, for ${minutes} simulated minutes:

${table(
  ["", "p50", "p99", "highest"],
  [["a tick, in ms", short(footprint.p50Ms), short(footprint.p99Ms), short(footprint.mostMs)]],
)}

${verdicts([
  {
    target: `better than both on at least 8 of 10 traces`,
    measured: `${best} of ${rows.length}`,
    met: best >= rows.length * 0.8,
  },
  {
    target: "first decision at most 4 s after a spike",
    measured: `${delays[0] ?? NaN} s`,
    met: (delays[0] ?? NaN) <= 4,
  },
  {
    target: `a tick at ${services} services at most 50 ms`,
    measured: `${short(footprint.p99Ms)} ms, p99`,
    met: footprint.p99Ms <= 50,
  },
  {
    target: "memory at most 100 MB",
    measured: `${short(footprint.megabytes)} MB, the whole process`,
    met: footprint.megabytes <= 100,
  },
])}`,
  );
  console.log(percent(best / rows.length));
}

main();
