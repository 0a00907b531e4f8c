/** The autoscaler's side of the narrow socket. */
import { HttpClient } from "../../../../lib/http";
import type { ChosenLimits } from "../../../../routing/scaling/limits";
import type { Relimit, Rescale, Swarm } from "./types";

export class SwarmClient {
  private readonly http: HttpClient;

  constructor(socketPath: string) {
    this.http = new HttpClient({ socketPath }, { maxSockets: 8 });
  }

  async swarm(): Promise<Swarm> {
    return JSON.parse((await this.http.ok("GET", "/services", { timeoutMs: 5_000 })).body) as Swarm;
  }

  async rescale(id: string, change: Rescale): Promise<void> {
    await this.http.ok("POST", `/services/${id}/replicas`, { body: change });
  }

  async relimit(id: string, change: Relimit): Promise<void> {
    await this.http.ok("POST", `/services/${id}/limits`, { body: change });
  }

  async limitTask(task: string, limits: ChosenLimits): Promise<void> {
    await this.http.ok("POST", `/tasks/${task}/limits`, { body: limits });
  }
}
