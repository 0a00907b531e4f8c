import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { fabioListens, runSwitchyard, traefikListens } from "./balancers";
import { cleanUp, Container, files, versionInImage } from "./containers";
import {
  benchmark,
  roomForConnections,
  listOption,
  median,
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

// (b) What routing costs, and how that grows with the number of routes. The balancer has a core for itself, on one
// thread, and the load and the instances share the other, so that the balancer is what limits the rate.

const sizes = listOption("sizes", ["10", "1000", "10000"]).map(Number);
const rounds = numberOption("rounds", 3);
const only = listOption("only", []);
/** How many of the routes are in use. */
const hot = numberOption("hot", 10);
const seconds = numberOption("seconds", 4);
const balancerCore = 0;
const loadCore = 1;
const patience = 90;
const byHand = "HAProxy by hand, with a map";

interface Contender {
  readonly name: string;
  readonly container: Container;
  readonly port: number;
  readonly script: string;
  bursts: Measured[];
}

interface Measured extends Burst {
  /** Microseconds of processor time of the balancer for each request. */
  readonly cost: number;
}

const routesOf = (count: number): Registration[] =>
  Array.from({ length: count }, (_, index) => ({
    name: routeName(index),
    address: addressOf(index),
    port: ports.origin,
    node: `node-${Math.floor(index / 100)}`,
  }));

type Start = (routes: readonly Registration[], port: number) => Promise<Container>;

/**
 * Switchyard's bursts are as long as all of its checks take to come round: those that were due while it was paused come at
 * once, and then none for a while.
 */
const secondsOf = (name: string, size: number): number =>
  name === "Switchyard" ? Math.max(seconds, size / 250) : seconds;

/** In the order in which they take turns. */
function starts(registry: Registry, size: number): Map<string, Start> {
  const core = balancerCore;
  const file = (name: string, content: string): string[] => {
    const path = join(files, `${size}-${name}`);
    writeFileSync(path, content);
    return ["-v", `${path}:/files/${name}:ro`];
  };
  const haproxy = (name: string, config: typeof byMap): Start => {
    return (routes, port) => {
      const mounts = [...file(`${name}.cfg`, config(routes, port)), ...file("routes.map", routeMap(routes))];
      return Container.run(`${name}-${size}`, ["-W", "-f", `/files/${name}.cfg`], {
        core,
        program: "haproxy",
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
      "Switchyard",
      async (routes, port) => {
        await registry.registerAll(routes);
        const name = `switchyard-${size}`;
        return runSwitchyard(registry.address, { name, core, port, args: ["--threads=1"] });
      },
    ],
    [byHand, haproxy("by-map", byMap)],
    ["HAProxy as in 2015, an ACL each", haproxy("by-acls", byAcls)],
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

/** Starts them one after the other, each until it routes, and stills each until its turn. */
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
    if ((await untilStatus(port, `/${last}`, 200, patience)) === undefined) {
      console.log(`${name} does not route within ${patience} s: ${await container.logs()}`);
      await container.stop();
      continue;
    }
    await sleep(2_000);
    await container.pause();
    contenders.push({ name, container, port, script, bursts: [] });
  }
  return contenders;
}

async function turn({ container, port, script, bursts }: Contender, seconds: number): Promise<void> {
  await container.resume();
  try {
    const url = `http://127.0.0.1:${port}`;
    await sleep(500);
    await wrk(url, script, { core: loadCore, seconds: 1 });
    const before = await container.cpuSeconds();
    const burst = await wrk(url, script, { core: loadCore, seconds });
    const used = (await container.cpuSeconds()) - before;
    bursts.push({ ...burst, cost: (used * 1e6) / burst.requests });
  } finally {
    await container.pause();
  }
}

/** The median over the rounds of what one got for what another got in the same round. */
const ratio = (
  a: readonly Measured[],
  b: readonly Measured[] | undefined,
  of: (burst: Measured) => number,
): number => (b === undefined ? NaN : median(a.map((burst, round) => of(burst) / of(b[round] ?? burst))));

const rate = ({ perSecond }: Measured): number => perSecond;
/** Requests for each second of processor time. */
const economy = ({ cost }: Measured): number => 1e6 / cost;

function judge(
  size: number,
  own: readonly Measured[],
  hand: readonly Measured[] | undefined,
  fewest: readonly Measured[] | undefined,
): Verdict[] {
  const routes = `${size.toLocaleString("en-US")} routes`;
  const verdict = (what: string, least: number, other: readonly Measured[] | undefined): Verdict[] => {
    if (other === undefined || other === own) return [];
    const rates = ratio(own, other, rate);
    const economies = ratio(own, other, economy);
    return [
      {
        target: `${routes}: at least ${percent(least)} of ${what}`,
        measured: `rate ${percent(rates)}, per CPU second ${percent(economies)}`,
        met: rates >= least && economies >= least,
      },
    ];
  };
  return [
    ...verdict(`its own at ${sizes[0] ?? ""}`, 0.95, fewest),
    ...verdict("HAProxy configured by hand", 0.97, hand),
  ];
}

async function main(): Promise<void> {
  const registry = await Registry.start();
  await startOrigin(loadCore);
  const rows: string[][] = [];
  const judged: Verdict[] = [];
  const spreads: number[] = [];
  const [fewest = 0] = sizes;
  // With few routes each takes its turn beside itself with many: between one cell and the next the machine changes.
  const withFew = await startAll(await Registry.start("bn-t-few", ports.otherConsul), fewest, ports.traffic);
  const others = ports.traffic + 10 * withFew.length;
  for (const size of sizes) {
    const contenders = size === fewest ? withFew : await startAll(registry, size, others);
    for (const each of withFew) each.bursts = [];
    for (let round = 0; round < rounds; round++)
      for (const each of contenders) {
        const duration = secondsOf(each.name, size);
        const few = withFew.find(({ name }) => name === each.name);
        if (few !== undefined && few !== each) await turn(few, duration);
        await turn(each, duration);
      }
    const hand = contenders.find(({ name }) => name === byHand)?.bursts;
    for (const { name, container, bursts } of contenders) {
      if (size !== fewest) await container.stop();
      const atFewest = withFew.find((few) => few.name === name)?.bursts;
      const costs = bursts.map(({ cost }) => cost);
      spreads.push((Math.max(...costs) - Math.min(...costs)) / median(costs));
      if (name === "Switchyard") judged.push(...judge(size, bursts, hand, atFewest));
      rows.push([
        size.toLocaleString("en-US"),
        name,
        short(median(bursts.map(({ perSecond }) => perSecond))),
        short(median(bursts.map(({ p99 }) => p99))),
        short(median(bursts.map(({ cost }) => cost))),
        percent(ratio(bursts, hand, rate)),
        percent(ratio(bursts, hand, economy)),
        percent(ratio(bursts, atFewest, economy)),
        String(bursts.reduce((sum, { failed }) => sum + failed, 0)),
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
    `per CPU second, of its own at ${sizes[0] ?? ""}`,
    "failed",
  ];
  const settings = { fabio: "static routes", traefik: "routes from a file" };
  const peers = [
    `HAProxy ${await versionInImage("haproxy")} in all three, with one thread`,
    ...(["fabio", "traefik"] as const).map((name) => {
      const path = onPath(name);
      if (path === undefined) return `${name}: not on PATH, so not measured`;
      return `${name} ${versionOf(path, name === "fabio" ? "-v" : "version")}: ${settings[name]}, no health checks`;
    }),
    `wrk ${wrkVersion()}`,
  ];
  writeSection(
    "(b) What routing costs",
    `Medians of ${rounds} rounds in turns, ${seconds} s each, 32 connections that are kept alive, each request to one of ${hot} routes
that lie evenly among all; every route has an instance of its own. What is compared with its own at ${fewest} took turns with it. Switchyard's
bursts with 10,000 routes take 40 s, in which each instance is checked once, and so do those with 10 beside it. The balancer has one core and one thread; load and instances have the other.
All of them log every request and set X-Forwarded-For; the first two also set a request id. Switchyard passes its log on in
pieces; it checks instances by HTTP every 2 s, 1,000 of them every 4 s, 10,000 every 40 s, the other HAProxys every 2 s by opening a connection.
Switchyard's processor time is that of its whole container, with the renderer and its own health check. A p99 at full load says how evenly requests wait, not how long an idle balancer takes.

${table(head, rows)}

${verdicts(judged)}

Noise: processor time for each request differed between the rounds of one cell by ${percent(median(spreads))} of itself (median of all cells),
so that smaller differences say nothing.

${peers.map((peer) => `- ${peer}.`).join("\n")}`,
  );
}

benchmark(main, cleanUp);
