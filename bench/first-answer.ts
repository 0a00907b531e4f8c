import { setTimeout as sleep } from "node:timers/promises";

import { containerMark } from "../test/e2e/bases";
import { docker } from "../test/e2e/docker";
import { get } from "../test/e2e/http";
import { benchmark, quantile, short, table, verdicts, writeSection, type Verdict } from "./lib";

// From the start of a container to its first answer through the load balancer, beyond the time the container itself
// needs. Requires a running stack with the service hello/v1; see bench/README.md.

const rounds = Number(process.argv[2] ?? 40);
const base = process.argv[3] ?? "http://localhost";
const port = 18_080;

interface Round {
  /** From `docker start` until the container answers on its own port. */
  readonly ownMs: number;
  /** From then until it answers through the load balancer. */
  readonly beyondMs: number;
}

/**
 * Sends a request every few milliseconds without waiting for previous answers: if a starting container does not accept a
 * connection, the kernel retries only a second later, which would make the container look slow.
 */
async function firstAnswer(url: string): Promise<number> {
  let answered: number | undefined;
  const end = performance.now() + 30_000;
  while (answered === undefined && performance.now() < end) {
    void get(url).then(({ status }) => {
      if (status === 200) answered ??= performance.now();
    });
    await sleep(5);
  }
  if (answered === undefined) throw new Error(`${url} did not answer within 30 s`);
  return answered;
}

async function measure(service: string, image: string): Promise<Round> {
  const name = ["-e", `SERVICE_NAME=${service}`, "-e", "SERVICE_TAGS=rest"];
  const id = await docker("create", "-l", containerMark, "-p", `${port}:8080`, ...name, image);
  try {
    const started = performance.now();
    const start = docker("start", id);
    const [own, routed] = await Promise.all([
      firstAnswer(`http://127.0.0.1:${port}/`),
      firstAnswer(`${base}/${service}`),
    ]);
    await start;
    return { ownMs: own - started, beyondMs: Math.max(0, routed - own) };
  } finally {
    await docker("rm", "-f", id);
  }
}

function row(what: string, rounds: readonly Round[]): string[] {
  const own = rounds.map(({ ownMs }) => ownMs);
  const beyond = rounds.map(({ beyondMs }) => beyondMs);
  return [what, ...[quantile(own, 0.5), quantile(beyond, 0.5), quantile(beyond, 0.95)].map(short)];
}

function verdict(what: string, rounds: readonly Round[]): Verdict {
  const p95 = quantile(
    rounds.map(({ beyondMs }) => beyondMs),
    0.95,
  );
  return { target: `${what}: p95 at most 250 ms beyond`, measured: `${short(p95)} ms`, met: p95 <= 250 };
}

async function main(): Promise<void> {
  const image = await docker(
    "service",
    "inspect",
    "hello-v1",
    "--format",
    "{{.Spec.TaskTemplate.ContainerSpec.Image}}",
  );
  const fresh: Round[] = [];
  const known: Round[] = [];
  for (let round = 0; round < rounds; round++) {
    fresh.push(await measure(`bench${round}/v1`, image));
    known.push(await measure("bench/v1", image));
  }
  writeSection(
    "From a container's start to its first answer",
    `${rounds} starts each, in turns, through the whole of a running stack: Docker, Registrator, Consul, the load balancer.
Milliseconds; “beyond” is the time on top of what the container itself takes until it answers.

${table(
  ["", "container's own start, p50", "beyond it, p50", "beyond it, p95"],
  [row("a new service name", fresh), row("a known service name", known)],
)}

${verdicts([verdict("a new service name", fresh), verdict("a known service name", known)])}

The image is the example service with its own health check, as a stack runs it. The time that Docker takes to start the container
varies with whatever else the machine does, so only the time beyond it is judged.`,
  );
}

benchmark(main);
