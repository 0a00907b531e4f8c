import { readFile } from "node:fs/promises";
import { messageOf } from "../../../../lib/errors";
import {
  HttpClient,
  RefusedError,
  type Answer,
  type Endpoint,
  type RequestOptions,
} from "../../../../lib/http";
import { isOwnAddress } from "../machine";
import type { ActualService, Health, Registration } from "../types";

/** The Consul agent on this node. Uses only the agent's local API, which works without a leader. */
export class Consul {
  private readonly http: HttpClient;

  constructor(
    private readonly endpoint: Endpoint,
    private readonly credentials: Credentials,
  ) {
    this.http = new HttpClient(endpoint);
  }

  /**
   * The token in use; undefined if there is none. A file is read for every request, because tokens are replaced while we run.
   *
   * @throws Error if the file cannot be read or is empty: Consul shows an empty catalog to whoever has no token
   */
  async token(): Promise<string | undefined> {
    const { tokenFile: file, token } = this.credentials;
    if (file === undefined) return token;
    const content = await readFile(file, "utf8").catch((error: unknown) => {
      throw new Error(`the token cannot be read: ${messageOf(error)}`);
    });
    if (content.trim() === "") throw new Error(`there is no token in ${file}`);
    return content.trim();
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
    registration: Registration,
    health: Health | undefined,
    maintenance?: string,
  ): Promise<void> {
    try {
      await this.write(registration, health, maintenance);
    } catch (error) {
      // Agents before 1.12 always follow redirects, and refuse fields that they do not know.
      if (!(error instanceof RefusedError && error.message.includes('unknown field "DisableRedirects"')))
        throw error;
      const check = { ...registration.Check, DisableRedirects: undefined };
      await this.write({ ...registration, Check: check }, health, maintenance);
    }
  }

  private async write(
    { Check: check, ...registration }: Registration,
    health: Health | undefined,
    maintenance: string | undefined,
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
    await this.ok("PUT", "/v1/agent/service/register?replace-existing-checks=true", {
      body: { ...registration, ...(checks ? { Checks: checks } : own && { Check: own }) },
    });
  }

  async deregister(id: string): Promise<void> {
    const path = `/v1/agent/service/deregister/${encodeURIComponent(id)}`;
    try {
      await this.ok("PUT", path);
    } catch (error) {
      // Newer agents answer 404 if the service is already gone, which is the desired result.
      if (!(error instanceof RefusedError && error.status === 404)) throw error;
    }
  }

  async updateCheck(id: string, health: Health, output: string): Promise<void> {
    const path = `/v1/agent/check/update/${encodeURIComponent(checkId(id))}`;
    await this.ok("PUT", path, { body: { Status: health, Output: output } });
  }

  private async get<T>(path: string): Promise<T> {
    const { body } = await this.ok("GET", path);
    return JSON.parse(body) as T;
  }

  private async ok(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
    const token = await this.token();
    try {
      return await this.http.ok(method, path, {
        ...options,
        ...(token !== undefined && { headers: { "x-consul-token": token } }),
      });
    } catch (error) {
      if (error instanceof RefusedError && error.status === 403)
        throw new RefusedError(403, `${error.message}. ${tokenAdvice}`);
      throw error;
    }
  }
}

/** The token for Consul, if any. */
export interface Credentials {
  readonly token?: string | undefined;
  /** A file with the token; takes precedence over `token`. */
  readonly tokenFile?: string | undefined;
}

const tokenAdvice =
  "Give Registrator a token with service:write for everything and node:read, in CONSUL_HTTP_TOKEN or CONSUL_HTTP_TOKEN_FILE";

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
