/** Our own metrics in Prometheus' text format and conventions. Their names are part of the image's interface. */
import { metricText, type Metric, type MetricSample } from "../../../lib/prometheus";
import { version } from "../../../routing/version";

const convergenceBucketSeconds = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10];

/** Why a reload was needed: the label of `switchyard_reloads_total`. */
export const reloadKinds = [
  "new service",
  "service options",
  "tcp port",
  "certificate",
  "settings",
  "recovery",
] as const;
export type ReloadKind = (typeof reloadKinds)[number];

const operationKinds = ["add", "return", "weight", "map", "unmap", "leave", "certificate"] as const;
export type OperationKind = (typeof operationKinds)[number];

const instanceStates = ["up", "down", "starting", "leaving", "unknown"];

/** What the gauges show at a scrape. */
export interface Observed {
  readonly ready: boolean;
  readonly failure?: string;
  readonly pending: readonly string[];
  /** `lastAnswer` is an ISO date, null before Consul's first answer. */
  readonly consul: {
    readonly connected: boolean;
    readonly index: number;
    readonly lastAnswer: string | null;
  };
  readonly routes: readonly unknown[];
  readonly tcp: readonly unknown[];
  readonly services: readonly {
    readonly instances: readonly { readonly state: string }[];
    readonly critical: readonly unknown[];
    readonly asleep?: true;
  }[];
  readonly leaving: readonly unknown[];
  readonly held: readonly unknown[];
  readonly quarantined: readonly unknown[];
  readonly unrouted: readonly unknown[];
  readonly warnings: readonly unknown[];
  readonly certificates: readonly { readonly name: string; readonly expires: string }[];
}

const labelled = (label: string, values: ReadonlyMap<string, number>): MetricSample[] =>
  [...values].map(([key, value]) => ({ labels: { [label]: key }, value }));

/** Every kind starts at 0: Prometheus misses the first increase of a series that begins with it. */
const zeros = (kinds: readonly string[]): Map<string, number> => new Map(kinds.map((kind) => [kind, 0]));

const increase = (values: Map<string, number>, kind: string): Map<string, number> =>
  values.set(kind, (values.get(kind) ?? 0) + 1);

export class Metrics {
  private readonly reloads = zeros(reloadKinds);
  private readonly operations = zeros(operationKinds);
  private readonly buckets = convergenceBucketSeconds.map(() => 0);
  private convergences = 0;
  private convergenceSeconds = 0;
  private failures = 0;
  private drift = 0;

  /** `rendererRestarts`: how often the renderer has failed and been started again. */
  constructor(private readonly rendererRestarts = 0) {}

  reload(kind: ReloadKind): void {
    increase(this.reloads, kind);
  }

  operation(kind: OperationKind): void {
    increase(this.operations, kind);
  }

  failure(): void {
    this.failures++;
  }

  drifted(): void {
    this.drift++;
  }

  converged(seconds: number): void {
    this.convergences++;
    this.convergenceSeconds += seconds;
    convergenceBucketSeconds.forEach((bound, index) => {
      if (seconds <= bound) this.buckets[index] = (this.buckets[index] ?? 0) + 1;
    });
  }

  /** `time` is now, in milliseconds since 1970. */
  text(observed: Observed, time: number): string {
    return [...this.counters(), ...gauges(observed, time), ...ownProcess()].map(metricText).join("");
  }

  private counters(): Metric[] {
    const counter = (name: string, help: string, samples: readonly MetricSample[]): Metric => ({
      name: `switchyard_${name}`,
      type: "counter",
      help,
      samples,
    });
    return [
      counter("reloads_total", "Reloads of HAProxy, by reason.", labelled("reason", this.reloads)),
      counter(
        "operations_total",
        "Changes made in the running HAProxy without a reload, by kind.",
        labelled("kind", this.operations),
      ),
      counter("apply_failures_total", "Changes that could not be applied; the last good state stayed.", [
        { value: this.failures },
      ]),
      counter("drift_corrections_total", "Times HAProxy differed from the desired state and was corrected.", [
        { value: this.drift },
      ]),
      counter("renderer_restarts_total", "Times the renderer failed unexpectedly and was started again.", [
        { value: this.rendererRestarts },
      ]),
      {
        name: "switchyard_convergence_seconds",
        type: "histogram",
        help: "Time from learning of a change to HAProxy having it.",
        samples: [
          ...convergenceBucketSeconds.map((bound, index) => ({
            suffix: "_bucket",
            labels: { le: String(bound) },
            value: this.buckets[index] ?? 0,
          })),
          { suffix: "_bucket", labels: { le: "+Inf" }, value: this.convergences },
          { suffix: "_sum", value: this.convergenceSeconds },
          { suffix: "_count", value: this.convergences },
        ],
      },
    ];
  }
}

function gauges(observed: Observed, time: number): Metric[] {
  const gauge = (name: string, help: string, ...samples: readonly MetricSample[]): Metric => ({
    name: `switchyard_${name}`,
    type: "gauge",
    help,
    samples,
  });
  const states = zeros(instanceStates);
  for (const { instances } of observed.services) for (const { state } of instances) increase(states, state);
  observed.leaving.forEach(() => increase(states, "leaving"));
  const critical = observed.services.reduce((sum, service) => sum + service.critical.length, 0);
  const { lastAnswer } = observed.consul;
  return [
    gauge("build_info", "The running release.", { labels: { version }, value: 1 }),
    gauge("ready", "Whether /ready answers 200.", { value: Number(observed.ready) }),
    gauge("routes", "Routed URLs.", { value: observed.routes.length }),
    gauge("tcp_ports", "Balanced TCP ports.", { value: observed.tcp.length }),
    gauge("services", "Routed services.", { value: observed.services.length }),
    gauge("sleeping_services", "Services without an instance that wake for a request.", {
      value: observed.services.filter(({ asleep }) => asleep === true).length,
    }),
    gauge("instances", "Instances, by their state in HAProxy.", ...labelled("state", states)),
    gauge(
      "instances_not_passing",
      "Instances that get no traffic because their checks in Consul do not pass.",
      {
        value: critical,
      },
    ),
    gauge("quarantined", "Rejected services, instances, nodes and certificates; /routes says why.", {
      value: observed.quarantined.length,
    }),
    gauge("unrouted", "Registrations and containers that were probably meant to be routed.", {
      value: observed.unrouted.length,
    }),
    gauge("warnings", "Warnings about registrations, settings and certificates; /routes lists them.", {
      value: observed.warnings.length,
    }),
    gauge("held_instances", "Instances kept although Consul dropped them in a suspicious way.", {
      value: observed.held.length,
    }),
    gauge(
      "certificate_expiry_timestamp_seconds",
      "Expiry of each served certificate, in seconds since 1970.",
      ...observed.certificates.map(({ name, expires }) => ({
        labels: { name },
        value: Date.parse(expires) / 1000,
      })),
    ),
    gauge("not_applied", "Whether a change has failed or waits for a reload.", {
      value: Number(observed.failure !== undefined || observed.pending.length > 0),
    }),
    gauge("consul_connected", "Whether Consul answers.", { value: Number(observed.consul.connected) }),
    gauge("consul_applied_index", "Consul's index in force.", { value: observed.consul.index }),
    gauge(
      "consul_last_answer_age_seconds",
      "Age of Consul's last answer; NaN before the first. Up to 75 s is normal while nothing changes.",
      { value: lastAnswer === null ? NaN : Math.max(0, (time - Date.parse(lastAnswer)) / 1000) },
    ),
  ];
}

/** About the renderer, with the names that Prometheus' client libraries use. HAProxy has metrics of its own process. */
function ownProcess(): Metric[] {
  const { user, system } = process.cpuUsage();
  return [
    {
      name: "process_cpu_seconds_total",
      type: "counter",
      help: "CPU time of the renderer.",
      samples: [{ value: (user + system) / 1e6 }],
    },
    {
      name: "process_resident_memory_bytes",
      type: "gauge",
      help: "Resident memory of the renderer.",
      samples: [{ value: process.memoryUsage.rss() }],
    },
    {
      name: "process_start_time_seconds",
      type: "gauge",
      help: "Start time of the renderer, in seconds since 1970.",
      samples: [{ value: Math.round(Date.now() / 1000 - process.uptime()) }],
    },
  ];
}
