import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { docker, removeContainers } from "../test/e2e/docker";
import { get, startLoad } from "../test/e2e/http";
import { removeMachines } from "../test/e2e/machines";
import { balancers, footnote, runSwitchyard, type Balancer } from "./balancers";
import { cleanUp, files, type Container } from "./containers";
import { faults, type Fault, type Start } from "./fault-list";
import { Site } from "./fault-site";
import {
  benchmark,
  listOption,
  numberOption,
  short,
  table,
  verdicts,
  writeSection,
  type Verdict,
} from "./lib";
import { ports } from "./ports";

// What users notice of faults: failed requests to a healthy service, and how long until all is well again.

const only = listOption("only", []);
/** Parts of their names. */
const chosen = listOption("faults", [""]);
const holdSeconds = numberOption("hold", 8);
/** Seconds after which no further row starts. */
const enoughSeconds = numberOption("enough", 1_200);
const perSecond = 100;
/** How long "until all is well" may take. */
const limitSeconds = 40;
const folder = join(files, "faults");
const site = new Site();
const traffic = `http://127.0.0.1:${ports.traffic}`;

interface Outcome {
  readonly requests: number;
  readonly failures: Readonly<Record<string, number>>;
  /** Since the fault struck; undefined if not within the limit. */
  readonly wellSeconds: number | undefined;
  /** When the fault was ended, since it struck; undefined if it ended by itself. */
  readonly liftedSeconds: number | undefined;
}

const answers = async (path: string): Promise<boolean> =>
  (await get(`${traffic}/${path}`, { timeout: 1_000 })).status === 200;

async function start(balancer: Balancer, special?: Start): Promise<Container> {
  const container =
    special === undefined
      ? await balancer.start(site.address)
      : await runSwitchyard(site.address, {
          args: special.args ?? [],
          docker: ["-v", `${folder}:/faults:ro`, ...(special.docker ?? [])],
        });
  await docker("update", "--restart=unless-stopped", container.name);
  await ready(balancer, container);
  return container;
}

async function ready(balancer: Balancer, container: Container): Promise<void> {
  for (let attemptsLeft = 600; !(await answers("shop")); attemptsLeft--) {
    if (attemptsLeft === 0) throw new Error(`${balancer.name} does not answer: ${await container.logs()}`);
    await sleep(100);
  }
}

async function measure(fault: Fault, ours: boolean, balancer: Container): Promise<Outcome> {
  const load = startLoad(`${traffic}/shop`, { perSecond });
  await sleep(1_000);
  const canary = site.canary();
  const lift = await fault.strike({ site, balancer, ours, folder });
  const struckAt = performance.now();
  let liftedAt: number | undefined;
  const started = site.run(canary, canary);
  const well = untilWell(fault, canary);
  if (lift !== undefined) {
    await sleep((fault.holdSeconds ?? holdSeconds) * 1000);
    await lift();
    liftedAt = performance.now();
  }
  const wellAt = await well;
  await sleep(1_000);
  const { requests, failures } = await load.stop();
  await removeContainers(await started);
  return {
    requests,
    failures,
    wellSeconds: wellAt && (wellAt - struckAt) / 1000,
    liftedSeconds: liftedAt && (liftedAt - struckAt) / 1000,
  };
}

/** Waits until a service that is new since the fault answers, and the others do as well. Returns the time. */
async function untilWell(fault: Fault, canary: string): Promise<number | undefined> {
  const works = fault.works ?? (() => Promise.resolve(true));
  const until = performance.now() + (limitSeconds + (fault.holdSeconds ?? holdSeconds)) * 1000;
  while (performance.now() < until) {
    if ((await answers(canary)) && (await answers("shop")) && (await works())) return performance.now();
    await sleep(20);
  }
  return undefined;
}

const count = (failures: Outcome["failures"]) =>
  Object.values(failures).reduce((sum, times) => sum + times, 0);

const cells = (outcome: Outcome | undefined): string[] => {
  if (outcome === undefined) return ["–", "–", "–"];
  const { requests, failures } = outcome;
  return [requests.toLocaleString("en-US"), String(count(failures)), wellCell(outcome)];
};

/** `1.2`, or `8.0 + 1.2` if all was well only after the fault had been ended. */
function wellCell({ wellSeconds: well, liftedSeconds: lifted }: Outcome): string {
  if (well === undefined) return `over ${limitSeconds}`;
  return lifted === undefined || well < lifted
    ? short(well)
    : `${lifted.toFixed(1)} + ${short(well - lifted)}`;
}

/** Whether Switchyard fails no request where that is possible. */
function judge(outcomes: ReadonlyMap<Fault, Outcome>): Verdict {
  const able = [...outcomes].filter(([{ mayFail }]) => mayFail !== true);
  const failing = able.filter(([, { failures }]) => count(failures) > 0).map(([{ name }]) => name);
  return {
    target: `no failed request in the ${able.length} rows that can have it`,
    measured: failing.length === 0 ? "none" : `some: ${failing.join(", ")}`,
    met: failing.length === 0,
  };
}

/** Measures the faults that apply, as many as can be started until `until`. */
async function measureAll(
  balancer: Balancer,
  selected: readonly Fault[],
  until: number,
): Promise<Map<Fault, Outcome>> {
  const ours = balancer.name === "Switchyard";
  const found = new Map<Fault, Outcome>();
  let usual: Container | undefined;
  for (const fault of selected) {
    if (fault.onlyOurs === true && !ours) continue;
    if (performance.now() > until) break;
    const special = ours ? fault.start?.(folder) : undefined;
    if (ours && fault.start !== undefined && special === undefined) continue;
    if (special !== undefined) await usual?.stop();
    if (special !== undefined || usual === undefined) usual = await start(balancer, special);
    await site.settled();
    await ready(balancer, usual);
    const outcome = await measure(fault, ours, usual);
    found.set(fault, outcome);
    console.log([balancer.name, fault.name, ...cells(outcome), JSON.stringify(outcome.failures)].join(" | "));
    if (special !== undefined || outcome.wellSeconds === undefined) {
      await usual.stop();
      usual = undefined;
    }
  }
  await usual?.stop();
  return found;
}

async function main(): Promise<void> {
  mkdirSync(folder);
  chmodSync(folder, 0o755);
  const { here, missing } = await balancers();
  const contenders = here.filter(({ name }) =>
    only.length === 0 ? !name.includes("HAProxy") : only.includes(name),
  );
  const selected = faults.filter(({ name }) => chosen.some((part) => name.includes(part)));
  await site.start();
  const began = performance.now();
  const outcomes = new Map<Balancer, Map<Fault, Outcome>>();
  for (const [index, balancer] of contenders.entries()) {
    // What one does not need, the others may use.
    const leftMs = enoughSeconds * 1000 - (performance.now() - began);
    const until = performance.now() + leftMs / (contenders.length - index);
    outcomes.set(balancer, await measureAll(balancer, selected, until));
  }
  const judged = [...outcomes].flatMap(([{ name }, found]) => (name === "Switchyard" ? [judge(found)] : []));
  const rows = selected.map((fault) => [
    fault.name,
    ...contenders.flatMap((balancer) => cells(outcomes.get(balancer)?.get(fault))),
  ]);
  const head = [
    "",
    ...contenders.flatMap(({ name }) => [`${name.split(",")[0] ?? ""}: requests`, "failed", "all well, s"]),
  ];
  const notes = selected.flatMap(({ name, note }) => (note === undefined ? [] : [`- ${name}: ${note}`]));
  writeSection(
    "(faults) What users notice of faults",
    `${perSecond} requests a second to a service with three healthy instances, two on this machine and one on a second machine, which is
the node of the table. A fault that does not end by itself is ended after ${holdSeconds} s. When a fault strikes, a container with a new
service starts. “All well” is the time from the fault until that service and the one under load answer, which without a fault is the
time that a container takes to start; “8.0 + 1.2” says that it took until 1.2 s after the fault was ended. “–”: does not apply, or was
not reached within ${enoughSeconds} s in all. While nobody answers, at most 16 requests wait, so that fewer are sent than at other times.

${table(head, rows)}

${judged.length > 0 ? verdicts(judged) : ""}

${notes.join("\n")}

${footnote(
  contenders,
  missing.filter((name) => name !== "consul-template"),
)}`,
  );
}

benchmark(main, async () => {
  await site.stop();
  await cleanUp();
  await removeMachines();
});
