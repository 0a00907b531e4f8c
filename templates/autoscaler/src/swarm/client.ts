/** The autoscaler's side of the narrow socket. */
import { HttpClient } from "../../../../lib/http";
import type { ChosenLimits } from "../../../../routing/scaling/limits";
import type { EndRun, Relimit, Rescale, StartRun, Swarm } from "./types";

export class SwarmClient {
  private readonly http: HttpClient;

  constructor(socketPath: string) {
    this.http = new HttpClient({ socketPath }, { maxSockets: 8 });
  }

  async swarm(): Promise<Swarm> {
    const { body } = await this.http.ok("GET", "/services", { timeoutMs: 5_000 });
    // While an update replaces containers, the socket may be of an earlier version.
    return { jobs: [], ...(JSON.parse(body) as Omit<Swarm, "jobs">) };
  }

  async rescale(id: string, change: Rescale): Promise<void> {
    await this.http.ok("POST", `/services/${id}/replicas`, { body: change });
  }

  async relimit(id: string, change: Relimit): Promise<void> {
    await this.http.ok("POST", `/services/${id}/limits`, { body: change });
  }

  async startRun(id: string, change: StartRun): Promise<void> {
    await this.http.ok("POST", `/services/${id}/run`, { body: change });
  }

  async endRun(id: string, change: EndRun): Promise<void> {
    await this.http.ok("POST", `/services/${id}/end`, { body: change });
  }

  async limitTask(task: string, limits: ChosenLimits): Promise<void> {
    await this.http.ok("POST", `/tasks/${task}/limits`, { body: limits });
  }
}
