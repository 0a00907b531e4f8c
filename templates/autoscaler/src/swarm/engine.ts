/** The calls to the Docker Engine behind the narrow socket. */
import { RefusedError, type HttpClient } from "../../../../lib/http";
import { nodesWanted, needsTasks, servicesIn, tasksIn, withTasks, type Task } from "./services";
import { rescale } from "./rescale";
import type { Rescale, Swarm } from "./types";

/** With more services than this, the question for their tasks would be longer than a URL may be. */
const mostAsked = 100;

export interface Reply {
  readonly status: number;
  readonly body: unknown;
}

export class Engine {
  /** @param http may send a change twice: Docker refuses one of a version that is no longer the service's */
  constructor(private readonly http: HttpClient) {}

  async swarm(): Promise<Swarm> {
    const services = servicesIn(await this.get("/services?status=true"));
    const asked = services.filter(needsTasks).map(({ id }) => id);
    const tasks = asked.length === 0 ? [] : await this.tasks(asked);
    const isFull = tasks.every(({ noRoom }) => noRoom === undefined);
    return {
      services: withTasks(services, tasks),
      nodesWanted: isFull ? 0 : nodesWanted(tasks, await this.get("/nodes")),
    };
  }

  private async tasks(services: readonly string[]): Promise<Task[]> {
    const filters = {
      "desired-state": ["running"],
      ...(services.length <= mostAsked && { service: services }),
    };
    const query = encodeURIComponent(JSON.stringify(filters));
    const known = new Set(services);
    return tasksIn(await this.get(`/tasks?filters=${query}`)).filter(({ service }) => known.has(service));
  }

  /** Sets the number of replicas, and leaves everything else of the service as Docker has it. */
  async rescale(id: string, change: Rescale): Promise<Reply> {
    try {
      const result = rescale(await this.get(`/services/${id}`), change);
      if (!result.ok) return { status: result.status, body: { error: result.why } };
      await this.http.ok("POST", `/services/${id}/update?version=${change.version}`, { body: result.spec });
      return { status: 200, body: {} };
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      const status = error.message.includes("update out of sequence") ? 409 : error.status;
      return { status, body: { error: error.message } };
    }
  }

  private async get(path: string): Promise<unknown> {
    return JSON.parse((await this.http.ok("GET", path)).body);
  }
}
