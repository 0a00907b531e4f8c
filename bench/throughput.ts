import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { logPipe } from "../templates/haproxy/src/haproxy/log-pipe";
import { fabioListens, runSwitchyard, traefikListens } from "./balancers";
import { cleanUp, Container, files, versionInImage } from "./containers";
import {
  benchmark,
  roomForConnections,
  listOption,
  median,
  quantile,
  numberOption,
  onPath,
  percent,
  short,
  table,
  verdicts,
  versionOf,
  writeSection,
  type Verdict,
} from "./lib";
import { startOrigin } from "./origin";
import { ports } from "./ports";
import { untilStatus } from "./probe";
import { addressOf, Registry, type Registration } from "./registry";
import { byAcls, byMap, forFabio, forTraefik, routeMap } from "./routing";
import { randomRoutes, routeName, wrk, wrkVersion, type Burst } from "./wrk";

// (b) The cost of routing, and how it grows with the number of routes. The balancer has one core and one thread to
// itself; load and instances share the other core, so the balancer limits the rate.

const sizes = listOption("sizes", ["10", "1000", "10000"]).map(Number);
const rounds = numberOption("rounds", 3);
const only = listOption("only", []);
/** How many routes are in use. */
const hot = numberOption("hot", 10);
const seconds = numberOption("seconds", 4);
/** How many turns Switchyard with few routes and Switchyard with many take for the comparison between them. */
const pairs = numberOption("pairs", 30);
const pairSeconds = 2;
const balancerCore = 0;
const loadCore = 1;
/** How long a contender may take to route; one that takes longer is left out. */
const readySeconds = 90;
const own = "Switchyard";
const byHand = "HAProxy by hand";
/** Its log is forwarded like Switchyard's: writing single lines costs so much that it would hide everything else. */
const byHandWithOurLog = "HAProxy by hand with our log";

interface Contender {
  readonly name: string;
  readonly container: Container;
  readonly port: number;
  readonly script: string;
  /** Whether it is paused between its turns. Switchyard is not: all overdue health checks would run at once. */
  readonly isPausable: boolean;
  readonly bursts: Measured[];
}

interface Measured extends Burst {
  /** Processor time of the balancer per request, in microseconds. */
  readonly costMicros: number;
}

const routesOf = (count: number): Registration[] =>
  Array.from({ length: count }, (_, index) => ({
    name: routeName(index),
    address: addressOf(index),
    port: ports.origin,
    node: `node-${Math.floor(index / 100)}`,
  }));

type Start = (routes: readonly Registration[], port: number) => Promise<Container>;

/** The contenders in the order of their turns. */
function starts(registry: Registry, size: number): Map<string, Start> {
  const core = balancerCore;
  const file = (name: string, content: string): string[] => {
    const path = join(files, `${size}-${name}`);
    writeFileSync(path, content);
    return ["-v", `${path}:/files/${name}:ro`];
  };
  const haproxy = (name: string, config: typeof byMap, ourLog = false): Start => {
    return (routes, port) => {
      const args = ["-W", "-f", `/files/${name}.cfg`];
      const mounts = [...file(`${name}.cfg`, config(routes, port)), ...file("routes.map", routeMap(routes))];
      return Container.run(`${name}-${size}`, ourLog ? logPipe(["haproxy", ...args]) : args, {
        core,
        program: ourLog ? "perl" : "haproxy",
        docker: mounts,
      });
    };
  };
  const peer = (name: string, path: string, args: readonly string[], mounts: readonly string[]) =>
    Container.run(`${name}-${size}`, args, {
      core,
      program: "/usr/local/bin/peer",
      docker: ["-v", `${path}:/usr/local/bin/peer:ro`, ...mounts],
    });
  const found = new Map<string, Start>([
    [
      own,
      async (routes, port) => {
        await registry.registerAll(routes);
        const name = `switchyard-${size}`;
        return runSwitchyard(registry.address, { name, core, port, args: ["--threads=1"] });
      },
    ],
    [byHand, haproxy("by-map", byMap)],
    [byHandWithOurLog, haproxy("by-map-our-log", byMap, true)],
    ["HAProxy as in 2015", haproxy("by-acls", byAcls)],
  ]);
  const fabio = onPath("fabio");
  if (fabio !== undefined)
    found.set("fabio", (routes, port) => {
      const args = ["-cfg", "/files/fabio.properties", ...fabioListens(port)];
      return peer("fabio", fabio, args, file("fabio.properties", forFabio(routes)));
    });
  const traefik = onPath("traefik");
  if (traefik !== undefined)
    found.set("Traefik", (routes, port) => {
      const args = [...traefikListens(port), "--providers.file.filename=/files/traefik.yaml"];
      return peer("traefik", traefik, args, file("traefik.yaml", forTraefik(routes)));
    });
  for (const name of found.keys()) if (only.length > 0 && !only.includes(name)) found.delete(name);
  return found;
}

/** Starts the contenders one after the other and waits until each routes. */
async function startAll(registry: Registry, size: number, firstPort: number): Promise<Contender[]> {
  const routes = routesOf(size);
  const script = join(files, `routes-${size}.lua`);
  writeFileSync(script, randomRoutes(size, hot));
  await roomForConnections();
  const contenders: Contender[] = [];
  for (const [index, [name, start]] of [...starts(registry, size)].entries()) {
    const port = firstPort + 10 * index;
    const container = await start(routes, port);
    const last = routes.at(-1)?.name ?? "";
    if ((await untilStatus(port, `/${last}`, 200, readySeconds)) === undefined) {
      console.log(`${name} does not route within ${readySeconds} s: ${await container.logs()}`);
      await container.stop();
      continue;
    }
    await sleep(2_000);
    const isPausable = name !== own;
    if (isPausable) await container.pause();
    contenders.push({ name, container, port, script, isPausable, bursts: [] });
  }
  return contenders;
}

async function turn(contender: Contender): Promise<void> {
  const { container, port, script, isPausable, bursts } = contender;
  if (isPausable) await container.resume();
  try {
    await sleep(500);
    await wrk(`http://127.0.0.1:${port}`, script, { core: loadCore, seconds: 1 });
    bursts.push(await burstOf(contender, seconds));
  } finally {
    if (isPausable) await container.pause();
  }
}

async function burstOf({ container, port, script }: Contender, seconds: number): Promise<Measured> {
  const before = await container.cpuSeconds();
  const burst = await wrk(`http://127.0.0.1:${port}`, script, { core: loadCore, seconds });
  const used = (await container.cpuSeconds()) - before;
  return { ...burst, costMicros: (used * 1e6) / burst.requests };
}

/** The ratios between two contenders, round by round. */
const ratios = (
  ones: readonly Measured[],
  others: readonly Measured[],
  of: (burst: Measured) => number,
): number[] => ones.map((burst, round) => of(burst) / of(others[round] ?? burst));

const rate = ({ perSecond }: Measured): number => perSecond;
/** Requests per second of processor time. */
const economy = ({ costMicros }: Measured): number => 1e6 / costMicros;

const failures = (bursts: readonly Measured[]): number => bursts.reduce((sum, { failed }) => sum + failed, 0);

/** A failed request on either side misses the target: errors are faster than answers and count as requests. */
function judge(target: string, least: number, ones: Measured[], others: Measured[]): Verdict {
  const [rates, economies] = [rate, economy].map((of) => ratios(ones, others, of));
  const show = (values: readonly number[] = []) =>
    `${percent(median(values))} (quartiles ${percent(quantile(values, 0.25))}, ${percent(quantile(values, 0.75))})`;
  const [failed, othersFailed] = [failures(ones), failures(others)];
  const clean = failed + othersFailed === 0;
  const ifFailed = clean ? "" : `; failed requests: ${failed}, of the other: ${othersFailed}`;
  return {
    target: `${target}: at least ${percent(least)}`,
    measured: `rate ${show(rates)}, per CPU second ${show(economies)}${ifFailed}`,
    met: clean && median(rates ?? []) >= least && median(economies ?? []) >= least,
  };
}

/** Measures Switchyard with many routes and with few in short turns, because the machine's speed varies by the minute. */
async function inTurns(many: Contender, few: Contender): Promise<[Measured[], Measured[]]> {
  const found: [Measured[], Measured[]] = [[], []];
  for (let pair = 0; pair < pairs; pair++) {
    if (pair % 2 === 0) found[0].push(await burstOf(many, pairSeconds));
    found[1].push(await burstOf(few, pairSeconds));
    if (pair % 2 === 1) found[0].push(await burstOf(many, pairSeconds));
  }
  return found;
}

async function main(): Promise<void> {
  const registry = await Registry.start();
  await startOrigin(loadCore);
  const rows: string[][] = [];
  const judged: Verdict[] = [];
  const spreads: number[] = [];
  const [fewest = 0] = sizes;
  const first = await startAll(await Registry.start("bn-t-few", ports.otherConsul), fewest, ports.traffic);
  const few = first.find(({ name }) => name === own);
  for (const size of sizes) {
    const routes = `${size.toLocaleString("en-US")} routes`;
    const contenders = size === fewest ? first : await startAll(registry, size, ports.traffic + 10);
    for (let round = 0; round < rounds; round++) for (const each of contenders) await turn(each);
    const many = contenders.find(({ name }) => name === own);
    const hand = contenders.find(({ name }) => name === byHand);
    for (const { name, bursts } of contenders)
      if (many !== undefined && [byHand, byHandWithOurLog].includes(name))
        judged.push(judge(`${routes}, of ${name}`, 0.97, many.bursts, bursts));
    if (many !== undefined && few !== undefined && many !== few)
      judged.push(judge(`${routes}, of its own at ${fewest}`, 0.95, ...(await inTurns(many, few))));
    for (const each of contenders) {
      const { name, container, bursts } = each;
      if (each !== few) await container.stop();
      const costs = bursts.map(({ costMicros }) => costMicros);
      spreads.push((Math.max(...costs) - Math.min(...costs)) / median(costs));
      const ofHand = (of: (burst: Measured) => number) =>
        percent(hand === undefined ? NaN : median(ratios(bursts, hand.bursts, of)));
      rows.push([
        size.toLocaleString("en-US"),
        name,
        short(median(bursts.map(({ perSecond }) => perSecond))),
        short(median(bursts.map(({ p99Ms }) => p99Ms))),
        short(median(costs)),
        ofHand(rate),
        ofHand(economy),
        String(failures(bursts)),
      ]);
      console.log(rows.at(-1)?.join(" | "));
    }
  }
  const head = [
    "routes",
    "",
    "requests/s",
    "p99, ms",
    "CPU, µs each",
    "rate, of HAProxy by hand",
    "per CPU second, of HAProxy by hand",
    "failed",
  ];
  const settings = { fabio: "static routes", traefik: "routes from a file" };
  const peers = [
    `HAProxy ${await versionInImage("haproxy")} in all four, with one thread; “by hand” uses a map; “as in 2015” uses one ACL per route, and a regular expression to strip the prefix`,
    ...(["fabio", "traefik"] as const).map((name) => {
      const path = onPath(name);
      if (path === undefined) return `${name}: not measured because not on PATH`;
      return `${name} ${versionOf(path, name === "fabio" ? "-v" : "version")}: ${settings[name]}, no health checks`;
    }),
    `wrk ${wrkVersion()}`,
  ];
  writeSection(
    "(b) What routing costs",
    `Medians of ${rounds} rounds in turns, ${seconds} s each, over 32 keep-alive connections, each request to one of ${hot} routes
spread evenly among all; every route has its own instance. The balancer has one core and one thread; the load generator and the instances
have the other core. All contenders log every request and set X-Forwarded-For; the first three also set a request id. Switchyard passes
its log on in batches, and so does the one “with our log”. Switchyard checks instances by HTTP every 2 s, 1,000 of them every 10 s,
10,000 every 100 s; the other HAProxys check by opening a connection every 2 s. Switchyard's CPU time is that of its whole container, with
the renderer and the container's health check. A p99 at full load says how evenly requests wait, not how long an idle balancer takes.
Of its own at ${fewest}: medians of ${pairs} turns of ${pairSeconds} s, with both running all the time. The idle work of the one whose turn it is not
thus lowers the other's rate, but not its requests per CPU second.

${table(head, rows)}

${verdicts(judged)}

Noise: CPU time per request differed between the rounds of one cell by ${percent(median(spreads))} (median of all cells),
so smaller differences mean nothing.

${peers.map((peer) => `- ${peer}.`).join("\n")}`,
  );
}

benchmark(main, cleanUp);
