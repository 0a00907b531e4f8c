import { setTimeout as sleep } from "node:timers/promises";

import { balancers, footnote, type Balancer } from "./balancers";
import { cleanUp, type Container } from "./containers";
import {
  benchmark,
  roomForConnections,
  listOption,
  numberOption,
  quantile,
  short,
  table,
  verdicts,
  writeSection,
  type Verdict,
} from "./lib";
import { startOrigin } from "./origin";
import { ports } from "./ports";
import { untilStatus } from "./probe";
import { addressOf, fillers, Registry, type Registration } from "./registry";

// (a) From the registration of a new service in Consul until it answers through the load balancer, and from its
// deregistration until its path answers 404.

const sizes = listOption("sizes", ["0", "1000", "5000"]).map(Number);
const rounds = numberOption("rounds", 25);
const only = listOption("only", []);
/** How long a balancer may take to get ready; one that takes longer gets no numbers. */
const readySeconds = 120;
/** How long a cell starts new rounds: the slowest balancer would need an hour for all. */
const enoughSeconds = numberOption("enough", 150);

interface Cell {
  readonly came: number[];
  readonly went: number[];
  /** From the start of the container until it routed all existing services. */
  readySeconds: number;
}

const empty = (): Cell => ({ came: [], went: [], readySeconds: NaN });

async function measure(balancer: Balancer, registry: Registry, size: number): Promise<Cell> {
  const cell = empty();
  await roomForConnections();
  const started = performance.now();
  let container: Container | undefined;
  try {
    container = await balancer.start(registry.address);
    const last = size === 0 ? "/always-there" : `/fill-s${size - 1}`;
    const ready = await untilStatus(ports.traffic, last, 200, readySeconds);
    if (ready === undefined) return cell;
    cell.readySeconds = (ready - started) / 1000;
    await sleep(2_000 + size);
    const until = performance.now() + enoughSeconds * 1000;
    for (let round = 0; round < rounds && performance.now() < until; round++)
      await once(registry, `new-s${size}-${round}`, round, cell);
  } finally {
    await container?.stop();
  }
  return cell;
}

async function once(registry: Registry, name: string, round: number, cell: Cell): Promise<void> {
  const registration: Registration = {
    name,
    address: addressOf(10_000 + round),
    port: ports.origin,
    node: "node-0",
  };
  // Vary the pause, so that changes do not fall into step with anything periodic.
  await sleep(50 + Math.random() * 150);
  const registeredAt = performance.now();
  const [came] = await Promise.all([
    untilStatus(ports.traffic, `/${name}`, 200),
    registry.register(registration),
  ]);
  cell.came.push((came ?? Infinity) - registeredAt);
  await sleep(50 + Math.random() * 150);
  const deregisteredAt = performance.now();
  const [went] = await Promise.all([
    untilStatus(ports.traffic, `/${name}`, 404),
    registry.deregister(registration),
  ]);
  cell.went.push((went ?? Infinity) - deregisteredAt);
}

const targets: readonly { size: number; p50?: number; p95?: number }[] = [
  { size: 0, p50: 10 },
  { size: 1_000, p50: 25, p95: 100 },
  { size: 5_000, p95: 200 },
];

function judged(
  cells: readonly {
    readonly size: number;
    readonly name: string;
    readonly p50: number;
    readonly p95: number;
  }[],
): string {
  const found: Verdict[] = [];
  for (const { size, ...wished } of targets) {
    const here = cells.filter((cell) => cell.size === size);
    const own = here.find(({ name }) => name === "Switchyard");
    if (own === undefined) continue;
    for (const quantile of ["p50", "p95"] as const) {
      const most = wished[quantile];
      if (most === undefined) continue;
      found.push({
        target: `${quantile} to 200 at ${size.toLocaleString("en-US")}: at most ${most} ms`,
        measured: `${short(own[quantile])} ms`,
        met: own[quantile] <= most,
      });
    }
    const [best] = here.filter((cell) => cell !== own).sort((a, b) => a.p50 - b.p50);
    if (best !== undefined)
      found.push({
        target: `p50 to 200 at ${size.toLocaleString("en-US")}: below every peer`,
        measured: `${short(own.p50)} ms, ${best.name} ${short(best.p50)} ms`,
        met: own.p50 < best.p50,
      });
  }
  return verdicts(found);
}

async function main(): Promise<void> {
  const { here, missing } = await balancers();
  const registry = await Registry.start();
  await startOrigin();
  await registry.register({
    name: "always-there",
    address: addressOf(9_999),
    port: ports.origin,
    node: "node-0",
  });
  const rows: string[][] = [];
  const cells: {
    readonly size: number;
    readonly name: string;
    readonly p50: number;
    readonly p95: number;
  }[] = [];
  let filled = 0;
  for (const size of sizes) {
    await registry.registerAll(fillers(filled, size));
    filled = Math.max(filled, size);
    for (const balancer of here.filter(({ name }) => only.length === 0 || only.includes(name))) {
      const cell = await measure(balancer, registry, size);
      const times = [cell.came, cell.went].flatMap((values) => [
        short(quantile(values, 0.5)),
        short(quantile(values, 0.95)),
        short(quantile(values, 1)),
      ]);
      const own = cells.find((each) => each.size === size && each.name === "Switchyard");
      const p50 = quantile(cell.came, 0.5);
      cells.push({ size, name: balancer.name, p50, p95: quantile(cell.came, 0.95) });
      rows.push([
        size.toLocaleString("en-US"),
        balancer.name,
        String(cell.came.length),
        ...times,
        own === undefined ? "1" : short(p50 / own.p50),
        short(cell.readySeconds),
      ]);
      console.log(rows.at(-1)?.join(" | "));
    }
  }
  const head = [
    "other services",
    "",
    "rounds",
    "to first 200: p50",
    "p95",
    "max",
    "to 404: p50",
    "p95",
    "max",
    "p50 to 200, Switchyard = 1",
    "ready after, s",
  ];
  writeSection(
    "(a) From a change in Consul to the first answer",
    `${rounds} new services each, every one with a name never used before; milliseconds from sending the request to Consul. Every
balancer was started afresh and left to settle in each cell. Consul allowed 12,000 connections per client, because
consul-template does not work within the default of 200. “–”: not ready within ${readySeconds} s, or no
answer within 20 s.

${table(head, rows)}

${judged(cells)}

${footnote(here, missing)}`,
  );
}

benchmark(main, cleanUp);
