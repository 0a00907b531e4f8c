/** The program of `scale-footprint.ts`: ticks with many services and five load balancers, and prints what they cost. */
import { readFileSync } from "node:fs";

import { encodeFigures, parseFigures, type ServiceFigures } from "../routing/scaling/figures";
import { updateBoard, type Board } from "../templates/autoscaler/src/figures/board";
import { tickMs } from "../templates/autoscaler/src/horizontal/rules";
import { tick, type ScaledService, type States } from "../templates/autoscaler/src/tick";
import { generator } from "./scale-random";

const [services = 500, minutes = 10] = process.argv.slice(2).map(Number);
const balancers = ["n1", "n2", "n3", "n4", "n5"];
const random = generator(3);

const names = Array.from({ length: services }, (_, index) => `team${index % 20}/service${index}/v1`);
const uses = Array.from({ length: 40 }, () => ({ startedMs: -60_000, use: 0.4 }));
const replicas = new Map(names.map((name) => [name, 2]));
let board: Board = new Map();
let states: States = new Map();
/** Processor time in milliseconds, with that of the garbage collector's threads: the machine may be busy otherwise. */
const times: number[] = [];
for (let nowMs = 0; nowMs < minutes * 60_000; nowMs += tickMs) {
  const values = balancers.map((balancer): [string, string] => {
    const figures = names.map((name, index): [string, ServiceFigures] => {
      const concurrent = Math.round((20 + 15 * Math.sin(nowMs / 60_000 + index)) * random());
      return [name, { concurrent, queued: 0, held: 0, rate: concurrent * 5, errors: 0 }];
    });
    return [balancer, encodeFigures({ sequence: nowMs, index: 0, services: new Map(figures) })];
  });
  const scaled = names.map((name): ScaledService => {
    const count = replicas.get(name) ?? 2;
    const processors = uses.slice(0, count);
    const range = { min: 2, max: 40, targets: { concurrent: 10, processor: 0.7 } };
    return { name, range, replicas: count, ready: count, waiting: 0, wanted: false, processors };
  });
  const started = process.cpuUsage();
  board = updateBoard(board, new Map(values.map(([name, value]) => [name, parseFigures(value)])), nowMs);
  const result = tick(states, scaled, board, nowMs);
  const { user, system } = process.cpuUsage(started);
  times.push((user + system) / 1000);
  states = result.states;
  for (const [name, { to }] of result.decisions) replicas.set(name, to);
}
const sorted = times.sort((a, b) => a - b);
const at = (share: number): number => sorted[Math.ceil(sorted.length * share) - 1] ?? NaN;
const peak = /^VmHWM:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
const megabytes = (Number(peak) * 1024) / 1e6;
console.log(JSON.stringify({ p50Ms: at(0.5), p99Ms: at(0.99), mostMs: at(1), megabytes }));
