import { docker } from "../test/e2e/docker";
import { get } from "../test/e2e/http";

// From the start of a container to its first answer through the load balancer, beyond the time that the container
// itself takes until it answers. Needs a running stack with the service hello/v1; see bench/README.md.

const rounds = Number(process.argv[2] ?? 40);
const base = process.argv[3] ?? "http://localhost";
const port = 18_080;

interface Round {
  /** Milliseconds from `docker start` until the container answers on its own port. */
  readonly own: number;
  /** Milliseconds more until it answers through the load balancer. */
  readonly beyond: number;
}

async function firstAnswer(url: string): Promise<number> {
  const end = performance.now() + 30_000;
  while (performance.now() < end) {
    if ((await get(url)).status === 200) return performance.now();
  }
  throw new Error(`${url} did not answer within 30 s`);
}

async function measure(service: string, image: string): Promise<Round> {
  const name = ["-e", `SERVICE_NAME=${service}`, "-e", "SERVICE_TAGS=rest"];
  const id = await docker("create", "-p", `${port}:8080`, "--no-healthcheck", ...name, image);
  try {
    const started = performance.now();
    const start = docker("start", id);
    const [own, routed] = await Promise.all([
      firstAnswer(`http://127.0.0.1:${port}/`),
      firstAnswer(`${base}/${service}`),
    ]);
    await start;
    return { own: own - started, beyond: Math.max(0, routed - own) };
  } finally {
    await docker("rm", "-f", id);
  }
}

function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? NaN;
}

function row(what: string, rounds: readonly Round[]): string {
  const cells = [
    quantile(
      rounds.map(({ own }) => own),
      0.5,
    ),
    ...[0.5, 0.95].map((q) =>
      quantile(
        rounds.map(({ beyond }) => beyond),
        q,
      ),
    ),
  ];
  return `| ${what} | ${cells.map((cell) => cell.toFixed(0)).join(" | ")} |`;
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
  console.log(
    `| ${rounds} starts each | container's own start, p50 ms | beyond it, p50 ms | beyond it, p95 ms |`,
  );
  console.log("| --- | --- | --- | --- |");
  console.log(row("a service that never was there", fresh));
  console.log(row("a service that was there before", known));
}

void main();
