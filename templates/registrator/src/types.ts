/** The fields used from `GET /containers/<id>/json`. Each may be missing, depending on the engine. */
export interface Inspect {
  readonly Id: string;
  readonly Name: string;
  readonly State?: {
    readonly Running?: boolean;
    readonly Paused?: boolean;
    readonly Restarting?: boolean;
    readonly StartedAt?: string;
    readonly Health?: {
      readonly Status?: string;
      readonly Log?: readonly { readonly Start?: string; readonly ExitCode?: number }[] | null;
    } | null;
  };
  readonly Config?: {
    readonly Image?: string;
    readonly Env?: readonly string[] | null;
    readonly Labels?: Readonly<Record<string, string>> | null;
    readonly ExposedPorts?: Readonly<Record<string, unknown>> | null;
    readonly StopSignal?: string;
    readonly StopTimeout?: number | null;
  };
  readonly HostConfig?: { readonly NetworkMode?: string };
  readonly NetworkSettings?: {
    readonly Ports?: Readonly<Record<string, readonly PortBinding[] | null>> | null;
    readonly Networks?: Readonly<Record<string, { readonly IPAddress?: string } | null>> | null;
  };
}

export interface PortBinding {
  readonly HostIp?: string;
  readonly HostPort?: string;
}

export type Health = "passing" | "warning" | "critical";

/** A health check in the format of Consul's agent. */
export interface Check {
  readonly Name?: string;
  readonly Status?: Health;
  readonly HTTP?: string;
  readonly Method?: string;
  readonly DisableRedirects?: boolean | undefined;
  readonly TCP?: string;
  readonly GRPC?: string;
  readonly GRPCUseTLS?: boolean;
  readonly TLSSkipVerify?: boolean;
  readonly Args?: readonly string[];
  readonly TTL?: string;
  readonly Interval?: string;
  readonly Timeout?: string;
  readonly DeregisterCriticalServiceAfter?: string;
}

/** The body of `PUT /v1/agent/service/register`. */
export interface Registration {
  readonly ID: string;
  readonly Name: string;
  readonly Address: string;
  readonly Port: number;
  readonly Tags: readonly string[];
  readonly Meta: Readonly<Record<string, string>>;
  readonly Check?: Check;
}

/** Why a container is thought to answer at its address and port. Only one container can. */
export interface Claim {
  /**
   * The surest first: `published` by the container itself, which asks for registration; `shared`: published by the owner of
   * its network; `unasked`: published, without a SERVICE_NAME or SERVICE_TAGS; `host`: exposed on the host's network.
   */
  readonly by: "published" | "shared" | "unasked" | "host";
  readonly protocol: string;
  /** When the container was started, in milliseconds since 1970. */
  readonly startMs: number;
  /** It ran for a while without listening on the port. */
  readonly wasUnused?: boolean;
}

/** One published port of one container. */
export interface Service {
  readonly registration: Registration;
  readonly claim: Claim;
  /** The container's name, for the log. */
  readonly container: string;
  /** The result of Docker's HEALTHCHECK; absent if Consul runs the check itself or there is none. */
  readonly health?: Health;
}

/** A service in the agent, with its check. */
export interface ActualService {
  readonly registration: Omit<Registration, "Check">;
  readonly check?: { readonly type?: string; readonly name: string; readonly status: string };
}

export interface ServiceOptions {
  /** This node's name, the first part of every service ID. */
  readonly hostname: string;
  /** The address at which other nodes reach this one. */
  readonly address: string;
  /** The addresses at which programs on the host's network listen on a TCP port; undefined if that is unknown. */
  readonly listenersOn?: (port: number) => readonly string[] | undefined;
  /** The container that publishes a TCP port of the host, whatever it is registered with. */
  readonly publisherOf?: (port: number) => string | undefined;
  /** Whether this is the only node, so that every load balancer runs on this machine. */
  readonly isOnlyNode: boolean;
  /** `-internal`: registers the container's own address and port instead of the published ones. */
  readonly internal: boolean;
  /** `-explicit`: registers only containers with a SERVICE_NAME. */
  readonly explicit: boolean;
  /** `-tags`: added to every service. */
  readonly tags: readonly string[];
  /** `-useIpFromLabel`: the label that contains the address, with or without a prefix length. */
  readonly addressLabel?: string;
  /** `-network`: with `-internal`, the network whose address is registered. */
  readonly network?: string;
}
