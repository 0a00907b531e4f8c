import { numberOption, short, table, verdicts, writeSection } from "./lib";
import { measureFootprint } from "./scale-footprint";
import { hpa, kpa } from "./scale-references";
import { calmRules, robustness } from "./scale-robust";
import { switchyard, type Scaler } from "./scale-scalers";
import { missingWeight, score, simulate, total, type Outcome } from "./scale-simulator";
import { fleet, singleTraces, target, type Trace } from "./scale-traces";

// (scale) Traces of load through the autoscaler's core and through the published rules of others. Needs no Docker.

const startSeconds = numberOption("start", 10);
const services = numberOption("services", 500);
const minutes = numberOption("minutes", 10);
const seed = numberOption("seed", 1000);

type Contender = readonly [name: string, make: () => Scaler];

const own: readonly Contender[] = [
  ["Switchyard", () => switchyard()],
  ["Switchyard, calm", () => switchyard(calmRules)],
];
const references: readonly Contender[] = [
  ["HPA", () => hpa()],
  ["KPA", () => kpa()],
];
const variants: readonly Contender[] = [
  ["HPA at 100 % of the target", () => hpa({ utilisation: 1 })],
  ["HPA with a metric that is a mean of 15 s", () => hpa({ meanSeconds: 15 })],
  ["KPA at 77 % of the target", () => kpa({ utilisation: 0.77 })],
];
const contenders = [...own, ...references];
const names = contenders.map(([name]) => name);
const ownNames = own.map(([name]) => name);
const weights = [1, 3, 5, 10, 20, 50, 100];

/** A trace, and what became of it with each contender. */
type Row = readonly [trace: string, outcomes: readonly Outcome[]];

const runAll = (traces: readonly Trace[], make: () => Scaler): Outcome[] =>
  traces.map((trace) => simulate(trace, make(), { startSeconds }));

/** Whether one of our own sets of rules is better than both references. */
function beatsBoth([, outcomes]: Row, index: number, weight = missingWeight): boolean {
  const ours = outcomes[index];
  return (
    ours !== undefined &&
    outcomes.slice(own.length).every((each) => score(ours, weight) < score(each, weight))
  );
}

/** The longest time in seconds from a spike of ten times to the first decision, over all moments between two syncs. */
function firstDecision(make: () => Scaler): number {
  const delays = Array.from({ length: 30 }, (_, offset) => {
    const start = 100 + offset;
    const concurrent = Array.from({ length: 200 }, (__, second) => (second < start ? 60 : 600));
    const scaler = make();
    let first = Infinity;
    const watched: Scaler = {
      ...scaler,
      decide: (seen) => {
        const wanted = scaler.decide(seen);
        if (seen.second >= start && wanted > seen.replicas) first = Math.min(first, seen.second - start);
        return wanted;
      },
    };
    simulate({ name: "a spike", concurrent }, watched, { startSeconds });
    return first;
  });
  return Math.max(...delays);
}

function main(): void {
  const footprint = measureFootprint(services, minutes);
  const singles = singleTraces(seed);
  const many = fleet(services);
  const bySingle = contenders.map(([, make]) => runAll(singles, make));
  const rows: Row[] = [
    ...singles.map(({ name }, index): Row => [name, bySingle.flatMap((outcomes) => outcomes[index] ?? [])]),
    [
      `an hour of ${services} services, all of these`,
      contenders.map(([, make]) => total(runAll(many, make), many)),
    ],
  ];
  const delays = contenders.map(([, make]) => firstDecision(make));
  const wins = (index: number, weight = missingWeight): number =>
    rows.filter((row) => beatsBoth(row, index, weight)).length;
  const sumOf = (outcomes: readonly Outcome[]): number =>
    outcomes.reduce((sum, each) => sum + score(each), 0);
  const each = (title: string, tell: (outcome: Outcome) => string): string =>
    table(
      [title, ...names],
      rows.map(([trace, outcomes]) => [trace, ...outcomes.map(tell)]),
    );
  const scores = table(
    ["score", ...names, "better than both references"],
    rows.map((row) => [
      row[0],
      ...row[1].map((outcome) => short(score(outcome))),
      ownNames.filter((_, index) => beatsBoth(row, index)).join("; "),
    ]),
  );
  const byWeight = table(
    ["a missing instance counts", ...weights.map((weight) => `${weight}x`)],
    ownNames.map((name, index) => [name, ...weights.map((weight) => String(wins(index, weight)))]),
  );
  const sums = table(
    ["", "score"],
    [
      ...names.map((name, index) => [name, short(sumOf(bySingle[index] ?? []))]),
      ...variants.map(([name, make]) => [name, short(sumOf(runAll(singles, make)))]),
    ],
  );
  const ticks = table(
    ["", "p50", "p99", "highest"],
    [
      [
        "a tick, in ms of processor time",
        short(footprint.p50Ms),
        short(footprint.p99Ms),
        short(footprint.mostMs),
      ],
    ],
  );
  const aim = Math.ceil(rows.length * 0.8);
  const [delay = NaN] = delays;
  const targets = [
    ...ownNames.map((name, index) => ({
      target: `${name}: better than both on ${aim} of ${rows.length} traces`,
      measured: String(wins(index)),
      met: wins(index) >= aim,
    })),
    { target: "first decision at most 4 s after a spike", measured: `${delay} s`, met: delay <= 4 },
    {
      target: `a tick at ${services} services at most 50 ms`,
      measured: `${short(footprint.p99Ms)} ms, p99`,
      met: footprint.p99Ms <= 50,
    },
    {
      target: "memory at most 100 MB",
      measured: `${short(footprint.megabytes)} MB with Node.js`,
      met: footprint.megabytes <= 100,
    },
  ];
  writeSection(
    "(scale) Decisions of the autoscaler",
    `Traces of load through our core, and through the rules of Kubernetes' HPA (autoscaling/v2) and Knative's KPA with their defaults.
All get the same figures, a target of ${target} concurrent requests at 70 %, and instances that take ${startSeconds} s to start. Neither Kubernetes nor
Knative ran: [scale-references.ts](scale-references.ts) has their rules, and where they come from. "Switchyard" has the rules in force,
"calm" the same with the window of 300 s and the pace of Kubernetes' HPA for scaling down.

The score is held instance-hours + ${missingWeight} × missing instance-hours; lower is better. [README.md](README.md#how-the-autoscaler-is-judged) says why.

${scores}

${each("requests over target", ({ over }) => `${(over * 100).toFixed(2)} %`)}

${each("instance-hours", ({ held }) => short(held))}

${each("changes, of these in the other direction", ({ changes, reversals }) => `${changes}, ${reversals}`)}

On how many of the ${rows.length} ours are better than both references if a missing instance counts less or more:

${byWeight}

The sum of the scores of the ${singles.length} single traces, and the same in other ways:

${sums}

${robustness()}

From a spike of 10x to the first decision, at most: ${names.map((name, index) => `${name} ${delays[index] ?? NaN} s`).join(", ")}. One tick of the core, with
${services} services and the figures of 5 load balancers to read, over ${minutes} simulated minutes:

${ticks}

${verdicts(targets)}`,
  );
}

main();
