import { defaultRules, type HorizontalRules } from "../templates/autoscaler/src/horizontal/rules";
import { hpa, kpa, switchyard } from "./scale-scalers";
import { score, simulate } from "./scale-simulator";
import { singleTraces } from "./scale-traces";
const start = Number(process.argv[2] ?? 10);
const D = defaultRules;
const fastDown = { count: 1, share: 1, perMs: 60_000 };
const B = { ...D, paceInPanic: false, down: fastDown, thrifty: true };
const A = { ...B, downWindowMs: 30_000, panicMs: 4_000, panicHoldMs: 30_000, stableMs: 30_000 };
const v: [string, HorizontalRules][] = [
  ["issue", D],
  ["A", A],
  ["A w60", { ...A, downWindowMs: 60_000 }],
  ["A nothr", { ...A, thrifty: false }],
  ["A pace25%", { ...A, down: D.down }],
  ["A pace50%/15", { ...A, down: { count: 1, share: .5, perMs: 15_000 } }],
  ["A paceup", { ...A, paceInPanic: true }],
  ["A p6", { ...A, panicMs: 6_000 }],
  ["A st60 ph60", { ...A, stableMs: 60_000, panicHoldMs: 60_000 }],
];
const traces = singleTraces(Number(process.argv[3] ?? 1000));
const k = traces.map((t) => score(simulate(t, kpa(), { startSeconds: start })));
const h = traces.map((t) => score(simulate(t, hpa(), { startSeconds: start })));
console.log("KPA".padEnd(18), k.map((x) => x.toFixed(1).padStart(6)).join(" "));
console.log("HPA".padEnd(18), h.map((x) => x.toFixed(1).padStart(6)).join(" "));
for (const [n, r] of v) {
  const o = traces.map((t) => score(simulate(t, switchyard(r), { startSeconds: start })));
  console.log(n.padEnd(18), o.map((x, i) => x.toFixed(1).padStart(6) + (x < k[i]! && x < h[i]! ? "*" : " ")).join(""), o.filter((x, i) => x < k[i]! && x < h[i]!).length);
}
