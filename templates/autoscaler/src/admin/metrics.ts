/** What `/metrics` answers. Pure. */
import { metricText, type Metric } from "../../../../lib/prometheus";
import type { LimitKind } from "../../../../routing/scaling/resources";
import type { ScaledServiceStatus } from "../../../../routing/scaling/status";
import type { JobStatus } from "../../../../routing/jobs/status";
import type { View } from "./view";

type Gauge = [name: string, help: string, value: (service: ScaledServiceStatus) => number];

const gauges: readonly Gauge[] = [
  ["replicas", "Instances that Docker is asked for.", ({ replicas }) => replicas],
  ["ready", "Instances that take requests.", ({ ready }) => ready],
  ["wish", "Instances that the figures ask for.", ({ wish }) => wish],
  ["min", "The fewest instances that the service may have.", ({ min }) => min],
  ["max", "The most instances that the service may have.", ({ max }) => max],
  ["asleep", "Whether the service sleeps.", ({ asleep }) => Number(asleep)],
  ["waiting_tasks", "Tasks that no node has room for.", ({ waiting }) => waiting],
  [
    "problem",
    "Whether the service cannot be scaled; /status says why.",
    ({ problem }) => Number(problem !== undefined),
  ],
];

export function metrics({ isLeading, dry, tickSeconds, failures, status, history }: View): string {
  const services = isLeading ? (status?.services ?? []) : [];
  const one = (name: string, help: string, value: number, type: Metric["type"] = "gauge"): Metric => ({
    name: `switchyard_autoscaler_${name}`,
    type,
    help,
    samples: [{ value }],
  });
  const perService = (
    name: string,
    help: string,
    value: (service: ScaledServiceStatus) => number,
    type: Metric["type"] = "gauge",
  ): Metric => ({
    name: `switchyard_autoscaler_service_${name}`,
    type,
    help,
    samples: services.map((service) => ({ labels: { service: service.name }, value: value(service) })),
  });
  const limits = isLeading ? (status?.limits ?? []) : [];
  const perLimit = (name: string, help: string, kind: LimitKind): Metric => ({
    name: `switchyard_autoscaler_service_${name}`,
    type: "gauge",
    help,
    samples: limits.flatMap(({ name: service, [kind]: limit }) =>
      limit === undefined ? [] : [{ labels: { service }, value: limit.target }],
    ),
  });
  const jobs = isLeading ? (status?.jobs ?? []) : [];
  const perJob = (name: string, help: string, value: (job: JobStatus) => number): Metric => ({
    name: `switchyard_autoscaler_job_${name}`,
    type: "gauge",
    help,
    samples: jobs.map((job) => ({ labels: { job: job.name }, value: value(job) })),
  });
  const count = (kind: "up" | "down" | "turns") => (service: ScaledServiceStatus) =>
    history?.count(service.name)[kind] ?? 0;
  const all = [
    one("leader", "Whether this autoscaler decides.", Number(isLeading)),
    one("dry", "Whether it only says what it would do.", Number(dry)),
    one("tick_seconds", "How long the last tick took; 0 before the first.", tickSeconds),
    one("tick_failures_total", "Ticks that failed: Docker or Consul did not answer.", failures, "counter"),
    one(
      "nodes_wanted",
      "How many nodes more the tasks that wait for room need.",
      isLeading ? (status?.nodesWanted ?? 0) : 0,
    ),
    ...gauges.map(([name, help, value]) => perService(name, help, value)),
    perService("ups_total", "Times that instances were added.", count("up"), "counter"),
    perService("downs_total", "Times that instances were removed.", count("down"), "counter"),
    perService("turns_total", "Times that the direction of changes changed.", count("turns"), "counter"),
    perLimit("memory_recommended_bytes", "Memory that an instance should have.", "memory"),
    perLimit("cpus_recommended", "Cores that an instance should have.", "cpus"),
    perJob("running", "Whether the job is running.", ({ running }) => Number(running !== undefined)),
    perJob("last_success_timestamp_seconds", "When the last run that succeeded ended; 0 for none.", (job) =>
      secondsOf(job.lastSuccess),
    ),
    perJob("last_exit_code", "Exit code of the last run; -1 if it was ended, or never began.", (job) =>
      exitCodeOf(job),
    ),
    perJob(
      "problem",
      "Whether the last run did not succeed, or nothing starts the job; /status says why.",
      ({ runs, problem }) =>
        Number(problem !== undefined || (runs.at(-1)?.result ?? "succeeded") !== "succeeded"),
    ),
    {
      name: "process_resident_memory_bytes",
      type: "gauge",
      help: "Resident memory.",
      samples: [{ value: process.memoryUsage.rss() }],
    } as const,
  ];
  return all.map(metricText).join("");
}

const secondsOf = (time: string | undefined): number => (time === undefined ? 0 : Date.parse(time) / 1_000);

const exitCodeOf = ({ runs }: JobStatus): number => {
  const last = runs.findLast(({ start }) => start !== undefined);
  return last === undefined ? 0 : (last.exitCode ?? -1);
};
