import { readFileSync } from "node:fs";
import * as http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import { buildRouting } from "../routing/build";
import type { Catalog } from "../routing/types";
import { render, toConfig, toMapFile } from "../templates/haproxy/src/config/render";
import { runSwitchyard } from "./balancers";
import { cleanUp } from "./containers";
import {
  benchmark,
  roomForConnections,
  numberOption,
  percent,
  quantile,
  short,
  table,
  verdicts,
  writeSection,
} from "./lib";
import { startOrigin } from "./origin";
import { ports } from "./ports";
import { untilStatus } from "./probe";
import { addressOf, fillers, Registry } from "./registry";

// (d) The cost of the renderer: a full render; its memory, processor time and Consul requests at rest and in churn.

const services = numberOption("services", 1_000);
const restSeconds = numberOption("rest", 60);
const churnSeconds = numberOption("churn", 20);
const perSecond = 10;
/** The kernel counts processor time in hundredths of a second. */
const ticksPerSecond = 100;

interface Timing {
  readonly what: string;
  readonly milliseconds: readonly number[];
}

/** Times the pure part, in this process. */
function renderTimes(count: number, instances: number): { timings: Timing[]; bytes: number } {
  const catalog: Catalog = {
    kv: {},
    instances: Array.from({ length: count * instances }, (_, index) => {
      const service = `team${Math.floor(index / instances / 100)}/service${Math.floor(index / instances)}`;
      return {
        service,
        id: `${service}:${index}`,
        node: `node-${index % 50}`,
        address: `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`,
        port: 30_000,
        tags: ["rest"],
        meta: {},
        healthy: true,
      };
    }),
  };
  const options = { httpPort: 80, threads: 2, dir: "/var/lib/switchyard", runDir: "/run", ipv6: false };
  const build: number[] = [];
  const rendered: number[] = [];
  const all: number[] = [];
  let bytes = 0;
  for (let round = 0; round < 7; round++) {
    const started = performance.now();
    const routing = buildRouting(catalog);
    const built = performance.now();
    const configuration = render(routing, options);
    const text = [toConfig(configuration), ...Object.values(configuration.maps).map(toMapFile)];
    const ended = performance.now();
    bytes = text.reduce((sum, { length }) => sum + length, 0);
    build.push(built - started);
    rendered.push(ended - built);
    all.push(ended - started);
  }
  return {
    bytes,
    timings: [
      { what: "catalog to routing", milliseconds: build },
      { what: "routing to configuration and maps, as text", milliseconds: rendered },
      { what: "both", milliseconds: all },
    ],
  };
}

/** Starts a proxy for Consul that counts requests and bytes. */
function countingProxy(): Promise<{ requests(): number; bytes(): number; stop(): void }> {
  let requests = 0;
  let bytes = 0;
  const agent = new http.Agent({ keepAlive: true });
  const server = http.createServer((incoming, response) => {
    requests++;
    const { method, url: path, headers } = incoming;
    const target = { host: "127.0.0.1", port: ports.consul, agent, method, path, headers };
    const passed = http.request(target, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on("data", (chunk: Buffer) => (bytes += chunk.length));
      answer.pipe(response);
    });
    passed.on("error", () => response.destroy());
    response.on("close", () => passed.destroy());
    incoming.pipe(passed);
  });
  return new Promise((resolve) => {
    server.listen(ports.consulProxy, "127.0.0.1", () => {
      resolve({
        requests: () => requests,
        bytes: () => bytes,
        stop: () => {
          server.closeAllConnections();
          server.close();
          agent.destroy();
        },
      });
    });
  });
}

/** Processor time and memory of one process. */
function usage(pid: number): { cpuSeconds: number; mebibytes: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  const resident = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
    mebibytes: Number(resident) / 1024,
  };
}

async function main(): Promise<void> {
  const { timings, bytes } = renderTimes(10_000, 5);
  await roomForConnections();
  const registry = await Registry.start();
  await startOrigin();
  await registry.registerAll(fillers(0, services));
  const proxy = await countingProxy();
  const balancer = await runSwitchyard(`127.0.0.1:${ports.consulProxy}`);
  const last = `/fill-s${services - 1}`;
  if ((await untilStatus(ports.traffic, last, 200, 60)) === undefined)
    throw new Error(`The load balancer is not ready: ${await balancer.logs()}`);
  // Let the effects of the start subside.
  await sleep(15_000);
  const pid = await balancer.pid();
  const rows: string[][] = [];
  const slowest = Math.max(...(timings.find(({ what }) => what === "both")?.milliseconds ?? []));
  let cpuShare = NaN;
  let mostMemory = 0;
  const watch = async (what: string, seconds: number, work: () => Promise<number>): Promise<void> => {
    const before = {
      ...usage(pid),
      all: await balancer.cpuSeconds(),
      sent: proxy.requests(),
      got: proxy.bytes(),
    };
    const started = performance.now();
    let changes = 0;
    let highest = before.mebibytes;
    while (performance.now() - started < seconds * 1000) {
      changes += await work();
      highest = Math.max(highest, usage(pid).mebibytes);
    }
    const lasted = (performance.now() - started) / 1000;
    const after = {
      ...usage(pid),
      all: await balancer.cpuSeconds(),
      sent: proxy.requests(),
      got: proxy.bytes(),
    };
    const sent = after.sent - before.sent;
    cpuShare = (after.cpuSeconds - before.cpuSeconds) / lasted;
    mostMemory = Math.max(mostMemory, (highest * 2 ** 20) / 1e6);
    rows.push([
      what,
      short(highest),
      percent(cpuShare),
      percent((after.all - before.all - (after.cpuSeconds - before.cpuSeconds)) / lasted),
      String(sent),
      changes === 0 ? "–" : short(sent / changes),
      changes === 0 ? "–" : short((after.got - before.got) / changes / 1024),
    ]);
    console.log(rows.at(-1)?.join(" | "));
  };
  await watch("at rest", restSeconds, async () => {
    await sleep(500);
    return 0;
  });
  let round = 0;
  const restCpu = cpuShare;
  await watch(`in churn, ${perSecond} changes/s`, churnSeconds, async () => {
    const registration = {
      // An additional instance of an existing service, on any node.
      ...(fillers(0, services)[(round * 37) % services] ?? { name: "x", node: "node-0" }),
      address: addressOf(20_000 + round),
      port: ports.origin,
    };
    round++;
    const untilMs = performance.now() + 2_000 / perSecond;
    await registry.register(registration);
    await sleep(1_000 / perSecond);
    await registry.deregister(registration);
    await sleep(Math.max(0, untilMs - performance.now()));
    return 2;
  });
  await balancer.stop();
  proxy.stop();
  await registry.stop();
  writeSection(
    "(d) What the renderer costs",
    `A full render of 10,000 services with 5 instances each (${(bytes / 2 ** 20).toFixed(1)} MiB of text) in the benchmark's process, in milliseconds:

${table(
  ["", "first", "p50 of 7"],
  timings.map(({ what, milliseconds }) => [
    what,
    short(milliseconds[0] ?? NaN),
    short(quantile(milliseconds, 0.5)),
  ]),
)}

The renderer's process beside a running HAProxy, with ${services.toLocaleString("en-US")} services on ${Math.ceil(services / 100)} nodes; CPU as a share of one core:

${table(
  [
    "",
    "memory, MiB, highest",
    "CPU, renderer",
    "CPU, HAProxy",
    "Consul requests",
    "per change",
    "KiB from Consul per change",
  ],
  rows,
)}

HAProxy's share is mostly health checks: one per instance every 10 s. The requests at rest are blocking queries that return after
their minute.

${verdicts([
  { target: "full render at most 1 s", measured: `${short(slowest)} ms, the first`, met: slowest <= 1_000 },
  {
    target: "at most 100 MB in memory at 1,000 services",
    measured: `${short(mostMemory)} MB`,
    met: mostMemory <= 100,
  },
  { target: "CPU at rest at most 0.5 %", measured: percent(restCpu), met: restCpu <= 0.005 },
])}`,
  );
}

benchmark(main, cleanUp);
