/** Converts between our inputs and Docker's definition of a Swarm service. Pure. */
import { canonical, given } from "../../lib/values";
import { containerInputsOf, containerPart, type ContainerInputs, type ContainerPart } from "./container";
import { isJob, isOwnLabel, LIMIT_LABELS, type HealthCheckInputs, type LimitInputs, type LimitRangeInputs, type LoggingInputs, type NetworkInputs, type PortInputs, type ServiceInputs } from "./inputs"; // prettier-ignore

export interface HealthConfig {
  readonly Test?: readonly string[];
  readonly Interval?: number;
  readonly Timeout?: number;
  readonly Retries?: number;
  readonly StartPeriod?: number;
  readonly StartInterval?: number;
}

export interface TaskSpec {
  readonly ContainerSpec: ContainerPart & {
    readonly Image: string;
    readonly Command?: readonly string[];
    readonly Args?: readonly string[];
    readonly Env?: readonly string[];
    readonly Labels?: Readonly<Record<string, string>>;
    readonly StopGracePeriod?: number;
    readonly Healthcheck?: HealthConfig;
    readonly DNSConfig?: {
      readonly Nameservers?: readonly string[];
      readonly Search?: unknown;
      readonly Options?: unknown;
    };
    readonly Dir?: unknown;
    readonly Hostname?: unknown;
    readonly Groups?: unknown;
    readonly TTY?: unknown;
    readonly OpenStdin?: unknown;
    readonly Sysctls?: unknown;
    /** Entries of the form `address name`. */
    readonly Hosts?: readonly string[];
  };
  readonly Resources?: {
    readonly Limits?: { readonly NanoCPUs?: number; readonly MemoryBytes?: number; readonly Pids?: unknown };
    readonly Reservations?: unknown;
  };
  readonly RestartPolicy?: {
    readonly Condition?: "any" | "on-failure" | "none";
    readonly Delay?: number;
    readonly MaxAttempts?: number;
    readonly Window?: number;
  };
  readonly Placement?: {
    readonly Constraints?: readonly string[];
    readonly Preferences?: readonly { readonly Spread?: { readonly SpreadDescriptor: string } }[];
    readonly MaxReplicas?: number;
  };
  readonly Networks?: readonly { readonly Target: string; readonly Aliases?: readonly string[] }[];
  readonly LogDriver?: { readonly Name?: string; readonly Options?: Readonly<Record<string, string>> };
  /** With each change of it, Swarm replaces the tasks: of a job, the number of its last run. */
  readonly ForceUpdate?: number;
}

/** Networks for an instance that is not to answer to the service's names in them. */
export const withoutAliases = (networks: TaskSpec["Networks"] | null): Pick<TaskSpec, "Networks"> =>
  networks ? { Networks: networks.map(({ Target }) => ({ Target })) } : {};

export interface UpdateSpec {
  readonly Parallelism: number;
  readonly MaxFailureRatio?: number;
  readonly Delay?: number;
  readonly FailureAction?: "rollback" | "pause" | "continue";
  readonly Monitor?: number;
  readonly Order?: "start-first" | "stop-first";
}

export interface PortSpec {
  readonly Protocol?: "tcp" | "udp";
  readonly TargetPort?: number;
  readonly PublishedPort?: number;
  readonly PublishMode?: string;
}

/** The fields of Docker's ServiceSpec that we use. */
export interface ServiceSpec {
  readonly Name: string;
  readonly Labels?: Readonly<Record<string, string>>;
  readonly TaskTemplate: TaskSpec;
  readonly Mode: { readonly Replicated?: { readonly Replicas?: number }; readonly Global?: object };
  readonly UpdateConfig?: UpdateSpec;
  readonly RollbackConfig?: UpdateSpec;
  readonly EndpointSpec?: { readonly Mode?: "vip" | "dnsrr"; readonly Ports?: readonly PortSpec[] };
}

const nanoseconds = (seconds: number): number => Math.round(seconds * 1000) * 1_000_000;
const seconds = (nanos: number | undefined): number => (nanos ?? 0) / 1_000_000_000;

/** Environment variables or labels as a sorted list, as in Docker's API. */
export function pairs(of: Readonly<Record<string, string>> | undefined): string[] {
  return Object.entries(of ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .sort();
}

function record(of: readonly string[] | undefined): Record<string, string> {
  return Object.fromEntries(
    (of ?? []).map((pair) => {
      const at = pair.indexOf("=");
      return at < 0 ? [pair, ""] : [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

/** The number of instances to run, if this many do: as many in a range, or the nearest bound. */
export function replicasNear(current: number, replicas: ServiceInputs["replicas"] = 1): number {
  return typeof replicas === "number" ? replicas : Math.min(replicas.max, Math.max(replicas.min, current));
}

/** A limit with what the autoscaler has chosen, if it chooses: within the bounds, or 0, which is none. */
function limitOf(limit: number | LimitRangeInputs | undefined, chosen: string | undefined): number {
  if (typeof limit !== "object") return limit ?? 0;
  const value = Number(chosen ?? 0);
  return value > 0 ? Math.min(limit.max, Math.max(limit.min, value)) : 0;
}

/** Whether limits are as wanted. One that something else chooses is right within its bounds, and before it is chosen. */
export function limitsFit(found: LimitInputs, wanted: LimitInputs = {}): boolean {
  return (["cpus", "memoryBytes"] as const).every((key) => {
    const [is, limit] = [Number(found[key] ?? 0), wanted[key] ?? 0];
    return typeof limit === "object" ? is === 0 || (is >= limit.min && is <= limit.max) : is === limit;
  });
}

/**
 * Docker's definition of a new service. `marks` are labels of the service, not of its containers. Of a range, it has the fewest
 * instances, but not 0: nothing would wake a service that never ran. A job has none until it is started.
 */
export function buildSpec(inputs: ServiceInputs, marks: Readonly<Record<string, string>>): ServiceSpec {
  const { healthCheck, limits, updateConfig, restartPolicy, spread, maxReplicasPerNode, logging } = inputs;
  const networks = inNameOrder(inputs.networks);
  const update: UpdateSpec = {
    Parallelism: updateConfig?.parallelism ?? 1,
    Delay: nanoseconds(updateConfig?.delaySeconds ?? 0),
    Monitor: nanoseconds(updateConfig?.monitorSeconds ?? 5),
    Order: updateConfig?.order ?? "start-first",
  };
  return {
    Name: inputs.name,
    Labels: { ...inputs.serviceLabels, ...marks },
    TaskTemplate: {
      ContainerSpec: {
        Image: inputs.image,
        Command: inputs.command ?? [],
        Args: inputs.args ?? [],
        // Swarm compares the lists as they are: another order would restart every instance.
        Env: pairs(inputs.env),
        Labels: inputs.labels ?? {},
        StopGracePeriod: nanoseconds(inputs.stopGracePeriodSeconds ?? 10),
        ...(healthCheck === undefined ? {} : { Healthcheck: healthConfig(healthCheck) }),
        DNSConfig: { Nameservers: inputs.dns ?? [] },
        Hosts: Object.entries(inputs.hosts ?? {})
          .map(([name, address]) => `${address} ${name}`)
          .sort(),
        ...containerPart(inputs),
      },
      Resources: {
        Limits: {
          NanoCPUs: Math.round(limitOf(limits?.cpus, marks[LIMIT_LABELS.cpus]) * 1_000_000_000),
          MemoryBytes: Math.round(limitOf(limits?.memoryBytes, marks[LIMIT_LABELS.memoryBytes])),
        },
      },
      RestartPolicy: {
        Condition: restartPolicy?.condition ?? "any",
        Delay: nanoseconds(restartPolicy?.delaySeconds ?? 1),
        MaxAttempts: restartPolicy?.maxAttempts ?? 0,
        Window: nanoseconds(restartPolicy?.windowSeconds ?? 0),
      },
      Placement: {
        Constraints: [...(inputs.constraints ?? [])].sort(),
        ...(spread && { Preferences: spread.map((label) => ({ Spread: { SpreadDescriptor: label } })) }),
        ...(maxReplicasPerNode !== undefined && { MaxReplicas: maxReplicasPerNode }),
      },
      ...(networks.length > 0 && {
        Networks: networks.map(({ id, aliases = [] }) => ({
          Target: id,
          ...(aliases.length > 0 && { Aliases: aliases }),
        })),
      }),
      ...(logging && { LogDriver: { Name: logging.driver, Options: logging.options ?? {} } }),
    },
    Mode:
      inputs.global === true
        ? { Global: {} }
        : { Replicated: { Replicas: isJob(inputs) ? 0 : replicasNear(1, inputs.replicas) } },
    UpdateConfig: { ...update, FailureAction: updateConfig?.failureAction ?? "rollback" },
    RollbackConfig: { ...update, FailureAction: "pause" },
    EndpointSpec: {
      // A virtual address would need IPVS in the kernel, and keep connections from moving to new instances.
      ...(networks.length > 0 && { Mode: "dnsrr" as const }),
      Ports: inPortOrder(inputs.ports).map(({ target, protocol = "tcp", published = 0 }) => ({
        Protocol: protocol,
        TargetPort: target,
        PublishedPort: published,
        PublishMode: "host",
      })),
    },
  };
}

/** By number: Docker does not keep their order. */
export const inPortOrder = (ports: readonly PortInputs[] = []): readonly PortInputs[] =>
  [...ports].sort((a, b) => a.target - b.target || (a.protocol ?? "tcp").localeCompare(b.protocol ?? "tcp"));

/** Docker does not keep their order, and that of names means nothing. */
export const inNameOrder = (networks: readonly NetworkInputs[] = []): NetworkInputs[] =>
  networks
    .map(({ id, aliases = [] }) => ({ id, aliases: [...aliases].sort() }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));

function healthConfig(check: HealthCheckInputs): HealthConfig {
  return {
    Test: check.test ?? [],
    Interval: nanoseconds(check.intervalSeconds ?? 0),
    Timeout: nanoseconds(check.timeoutSeconds ?? 0),
    Retries: check.retries ?? 0,
    StartPeriod: nanoseconds(check.startPeriodSeconds ?? 0),
    ...(check.startIntervalSeconds === undefined
      ? {}
      : { StartInterval: nanoseconds(check.startIntervalSeconds) }),
  };
}

/** The inverse of {@link buildSpec}: the inputs that would produce this service. */
export function inputsOf(spec: ServiceSpec): Omit<
  Required<Omit<ServiceInputs, keyof ContainerInputs>>,
  "replicas" | "logging"
> &
  ContainerInputs & {
    readonly replicas: number;
    readonly logging?: LoggingInputs;
  } {
  const { ContainerSpec: container, Resources, RestartPolicy, Placement, LogDriver } = spec.TaskTemplate;
  const health = container.Healthcheck;
  return {
    name: spec.Name,
    image: container.Image,
    command: container.Command ?? [],
    args: container.Args ?? [],
    env: record(container.Env),
    labels: container.Labels ?? {},
    serviceLabels: Object.fromEntries(Object.entries(spec.Labels ?? {}).filter(([key]) => isOwnLabel(key))),
    replicas: spec.Mode.Global === undefined ? (spec.Mode.Replicated?.Replicas ?? 0) : 1,
    ports: (spec.EndpointSpec?.Ports ?? []).map(({ TargetPort, Protocol, PublishedPort }) => ({
      target: TargetPort ?? 0,
      protocol: Protocol ?? "tcp",
      published: PublishedPort ?? 0,
    })),
    networks: (spec.TaskTemplate.Networks ?? []).map(({ Target, Aliases = [] }) => ({
      id: Target,
      aliases: Aliases,
    })),
    healthCheck: {
      test: health?.Test ?? [],
      intervalSeconds: seconds(health?.Interval),
      timeoutSeconds: seconds(health?.Timeout),
      retries: health?.Retries ?? 0,
      startPeriodSeconds: seconds(health?.StartPeriod),
      ...(health?.StartInterval === undefined ? {} : { startIntervalSeconds: seconds(health.StartInterval) }),
    },
    limits: {
      cpus: (Resources?.Limits?.NanoCPUs ?? 0) / 1_000_000_000,
      memoryBytes: Resources?.Limits?.MemoryBytes ?? 0,
    },
    dns: container.DNSConfig?.Nameservers ?? [],
    hosts: Object.fromEntries(
      (container.Hosts ?? [])
        .map((line) => line.split(" "))
        .map(([address = "", name = ""]) => [name, address]),
    ),
    stopGracePeriodSeconds: seconds(container.StopGracePeriod),
    constraints: Placement?.Constraints ?? [],
    spread: (Placement?.Preferences ?? []).map(({ Spread }) => Spread?.SpreadDescriptor ?? ""),
    maxReplicasPerNode: Placement?.MaxReplicas ?? 0,
    global: spec.Mode.Global !== undefined,
    ...(LogDriver?.Name !== undefined && {
      logging: { driver: LogDriver.Name, options: LogDriver.Options ?? {} },
    }),
    ...containerInputsOf(container),
    updateConfig: {
      order: spec.UpdateConfig?.Order ?? "stop-first",
      parallelism: spec.UpdateConfig?.Parallelism ?? 0,
      failureAction: spec.UpdateConfig?.FailureAction ?? "pause",
      monitorSeconds: seconds(spec.UpdateConfig?.Monitor),
      delaySeconds: seconds(spec.UpdateConfig?.Delay),
    },
    restartPolicy: {
      condition: RestartPolicy?.Condition ?? "any",
      delaySeconds: seconds(RestartPolicy?.Delay),
      maxAttempts: RestartPolicy?.MaxAttempts ?? 0,
      windowSeconds: seconds(RestartPolicy?.Window),
    },
    unmanaged: unmanaged(spec),
  };
}

/** What {@link buildSpec} never makes. Another definition takes it back. */
function unmanaged({
  TaskTemplate,
  EndpointSpec,
  UpdateConfig,
  RollbackConfig,
}: ServiceSpec): Record<string, unknown> {
  const { ContainerSpec: container, Resources, Networks = [] } = TaskTemplate;
  const { Dir, Hostname, Groups, TTY, OpenStdin, Sysctls, DNSConfig } = container;
  const mode = EndpointSpec?.Mode ?? "vip";
  const rollback = { ...UpdateConfig, FailureAction: "pause" };
  return given({
    ...{ Dir, Hostname, Groups, TTY, OpenStdin, Sysctls },
    Search: DNSConfig?.Search,
    Options: DNSConfig?.Options,
    Reservations: Resources?.Reservations,
    Pids: Resources?.Limits?.Pids,
    PublishMode: EndpointSpec?.Ports?.find(({ PublishMode = "host" }) => PublishMode !== "host")?.PublishMode,
    EndpointMode: mode === (Networks.length > 0 ? "dnsrr" : "vip") ? undefined : mode,
    MaxFailureRatio: UpdateConfig?.MaxFailureRatio,
    RollbackConfig:
      RollbackConfig === undefined || canonical(RollbackConfig) === canonical(rollback)
        ? undefined
        : RollbackConfig,
  });
}
