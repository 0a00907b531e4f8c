import { HttpClient, RefusedError, type Endpoint } from "../../../../lib/http";
import { isOwnAddress } from "../machine";
import type { ActualService, Health, Registration } from "../types";

/** The Consul agent on this node. Uses only the agent's local API, which works without a leader. */
export class Consul {
  private readonly http: HttpClient;

  constructor(
    private readonly endpoint: Endpoint,
    token: string | undefined,
  ) {
    this.http = new HttpClient({ ...endpoint, ...(token && { headers: { "x-consul-token": token } }) });
  }

  async services(): Promise<Map<string, ActualService>> {
    const [services, checks] = await Promise.all([
      this.get<Record<string, AgentService>>("/v1/agent/services"),
      this.get<Record<string, AgentCheck>>("/v1/agent/checks"),
    ]);
    const found = new Map<string, ActualService>();
    for (const [id, service] of Object.entries(services)) {
      const check = checks[checkId(id)];
      found.set(id, {
        registration: {
          ID: id,
          Name: service.Service,
          Address: service.Address ?? "",
          Port: service.Port ?? 0,
          Tags: service.Tags ?? [],
          Meta: service.Meta ?? {},
        },
        ...(check && {
          check: { name: check.Name, status: check.Status, ...(check.Type && { type: check.Type }) },
        }),
      });
    }
    return found;
  }

  /** Whether the agent runs on this machine and its cluster has no other node, not even one that failed. */
  async isOnlyNode(): Promise<boolean> {
    const { host = "localhost" } = this.endpoint;
    if (host !== "localhost" && !isOwnAddress(host)) return false;
    const members = await this.get<readonly Member[]>("/v1/agent/members");
    const [first, ...others] = members.filter(({ Status }) => Status !== hasLeft);
    return first !== undefined && others.length === 0 && isOwnAddress(first.Addr);
  }

  /** The services in maintenance mode, by ID, with the reason given for it. */
  async maintenance(): Promise<ReadonlyMap<string, string>> {
    const filter = encodeURIComponent(`Name == "${maintenanceName}"`);
    const checks = await this.get<Record<string, AgentCheck>>(`/v1/agent/checks?filter=${filter}`);
    const found = Object.entries(checks).filter(([id]) => id.startsWith(maintenanceId("")));
    return new Map(found.map(([id, { Notes = "" }]) => [id.slice(maintenanceId("").length), Notes]));
  }

  /** Registers a service, in maintenance mode if there is a reason for it. */
  async register(
    { Check: check, ...registration }: Registration,
    health: Health | undefined,
    maintenance?: string,
  ): Promise<void> {
    const { ID: id } = registration;
    const own = check && { ...check, ...(health && { Status: health }) };
    // Consul's maintenance mode is a critical check with this ID. Only in the same write does no request slip through.
    const checks = maintenance !== undefined && [
      ...(own ? [{ CheckID: checkId(id), ...own }] : []),
      {
        CheckID: maintenanceId(id),
        Name: maintenanceName,
        Notes: maintenance,
        TTL: "8760h",
        Status: "critical",
      },
    ];
    await this.http.ok("PUT", "/v1/agent/service/register?replace-existing-checks=true", {
      body: { ...registration, ...(checks ? { Checks: checks } : own && { Check: own }) },
    });
  }

  async deregister(id: string): Promise<void> {
    const path = `/v1/agent/service/deregister/${encodeURIComponent(id)}`;
    const { status, body } = await this.http.request("PUT", path);
    // Newer agents answer 404 if the service is already gone, which is the desired result.
    if (status !== 200 && status !== 404) throw new RefusedError(status, body);
  }

  async updateCheck(id: string, health: Health, output: string): Promise<void> {
    const path = `/v1/agent/check/update/${encodeURIComponent(checkId(id))}`;
    await this.http.ok("PUT", path, { body: { Status: health, Output: output } });
  }

  private async get<T>(path: string): Promise<T> {
    const { body } = await this.http.ok("GET", path);
    return JSON.parse(body) as T;
  }
}

/** The ID that Consul gives a service's only check. */
const checkId = (id: string) => `service:${id}`;

/** What Consul calls the check that stands for a service's maintenance mode. */
const maintenanceName = "Service Maintenance Mode";
const maintenanceId = (id: string) => `_service_maintenance:${id}`;

/** The status of a member that left for good, unlike one that failed. */
const hasLeft = 3;

interface Member {
  readonly Addr: string;
  readonly Status: number;
}

interface AgentService {
  readonly Service: string;
  readonly Address?: string;
  readonly Port?: number;
  readonly Tags?: readonly string[] | null;
  readonly Meta?: Readonly<Record<string, string>> | null;
}

interface AgentCheck {
  readonly Name: string;
  readonly Status: string;
  readonly Type?: string;
  readonly Notes?: string;
}
