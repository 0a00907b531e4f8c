/** The calls to the Docker Engine behind the narrow socket. */
import { RefusedError, type HttpClient } from "../../../../lib/http";
import { isMapping } from "../../../../lib/values";
import type { ChosenLimits } from "../../../../routing/scaling/limits";
import { nodesWanted, tasksIn, type Task } from "../../../../routing/scaling/room";
import { workingSet } from "../usage/measure";
import { updateOf } from "./container";
import { endRun, jobsIn, startRun, withAttempts } from "./jobs";
import { relimit } from "./relimit";
import { hasAutomaticCpus, leastCores, needsTasks, servicesIn, withTasks } from "./services";
import { rescale, type Respecified } from "./rescale";
import type { EndRun, Relimit, Rescale, StartRun, Swarm, SwarmJob } from "./types";

/** With more services than this, the question for their tasks would be longer than a URL may be. */
const mostAsked = 100;

export interface Reply {
  readonly status: number;
  readonly body: unknown;
}

const taskLabel = "com.docker.swarm.task.id";

const refusal = ({ status, why }: { readonly status: number; readonly why: string }): Reply => ({
  status,
  body: { error: why },
});

/** What Docker refuses is an answer as well. */
async function passingOn(work: () => Promise<Reply>): Promise<Reply> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    const status = error.message.includes("update out of sequence") ? 409 : error.status;
    return { status, body: { error: error.message } };
  }
}

const idsIn = (answer: unknown): string[] =>
  (Array.isArray(answer) ? answer : [])
    .filter(isMapping)
    .flatMap(({ Id }) => (typeof Id === "string" && /^[0-9a-f]{64}$/.test(Id) ? [Id] : []));

export class Engine {
  /** @param http may send a change twice: Docker refuses one of a version that is no longer the service's */
  constructor(private readonly http: HttpClient) {}

  async swarm(): Promise<Swarm> {
    const answer = await this.get("/services?status=true");
    const services = servicesIn(answer);
    const asked = services.filter(needsTasks).map(({ id }) => id);
    const tasks = asked.length === 0 ? [] : await this.tasks(asked);
    const isFull = tasks.every(({ noRoom }) => noRoom === undefined);
    const nodes = isFull && !services.some(hasAutomaticCpus) ? [] : await this.get("/nodes");
    return {
      services: withTasks(services, tasks),
      jobs: await this.withAttempts(jobsIn(answer)),
      nodesWanted: nodesWanted(tasks, nodes),
      cores: leastCores(nodes),
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

  private async withAttempts(jobs: readonly SwarmJob[]): Promise<SwarmJob[]> {
    const started = jobs.filter((job) => job.started).map(({ id }) => id);
    if (started.length === 0) return [...jobs];
    const filters = started.length <= mostAsked ? { service: started } : {};
    return withAttempts(
      jobs,
      await this.get(`/tasks?filters=${encodeURIComponent(JSON.stringify(filters))}`),
    );
  }

  /** Starts a run of a job: its next task. */
  startRun(id: string, change: StartRun): Promise<Reply> {
    return this.update(id, change.version, (service) => startRun(service, change));
  }

  /** Ends the run of a job that is going on. */
  endRun(id: string, change: EndRun): Promise<Reply> {
    return this.update(id, change.version, (service) => endRun(service, change));
  }

  /** Sets the number of replicas, and leaves everything else of the service as Docker has it. */
  rescale(id: string, change: Rescale): Promise<Reply> {
    return this.update(id, change.version, (service) => rescale(service, change));
  }

  /** Writes down the limits that are chosen for a service. */
  relimit(id: string, change: Relimit): Promise<Reply> {
    return this.update(id, change.version, (service) => relimit(service, change));
  }

  private update(id: string, version: number, change: (service: unknown) => Respecified): Promise<Reply> {
    return passingOn(async () => {
      const result = change(await this.get(`/services/${id}`));
      if (!result.ok) return refusal(result);
      await this.http.ok("POST", `/services/${id}/update?version=${version}`, { body: result.spec });
      return { status: 200, body: {} };
    });
  }

  /** Changes the limits of a task's container while it runs. */
  limitTask(task: string, limits: ChosenLimits): Promise<Reply> {
    return passingOn(async () => {
      const filters = encodeURIComponent(JSON.stringify({ label: [`${taskLabel}=${task}`] }));
      const [container, ...others] = idsIn(await this.get(`/containers/json?filters=${filters}`));
      if (container === undefined || others.length > 0)
        return { status: 404, body: { error: "the task does not run here" } };
      const stats = await this.get(`/containers/${container}/stats?stream=false&one-shot=true`);
      const usedBytes = isMapping(stats) ? workingSet(stats["memory_stats"]) : undefined;
      const result = updateOf(await this.get(`/containers/${container}/json`), usedBytes, limits);
      if (!result.ok) return refusal(result);
      if (result.update !== undefined)
        await this.http.ok("POST", `/containers/${container}/update`, { body: result.update });
      return { status: 200, body: {} };
    });
  }

  private async get(path: string): Promise<unknown> {
    return JSON.parse((await this.http.ok("GET", path)).body);
  }
}
