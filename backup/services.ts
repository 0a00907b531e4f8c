/** The Swarm services that use volumes: stopped while data is exchanged, and started again. */
import type Docker from "dockerode";

import { loadingName } from "../components/config/backups";
import { messageOf, UserError } from "../lib/errors";
import { api, connect, sleep, unless } from "../providers/client";
import { OWNER_LABEL } from "../providers/owner";
import { withoutAliases, type TaskSpec } from "../providers/swarm-service/spec";
import { endedStates, holdLabel, isJob } from "../routing/jobs/docker";
import { decisive } from "../routing/registration";
import type { BackupNode } from "./node";
import type { Deployed } from "./stack";

/** The label of an instance beside a service: of which. */
const besideLabel = "switchyard.restore";

interface Mounted {
  readonly Type: string;
  readonly Source?: string;
}

interface Spec {
  readonly Name: string;
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly Mode: { readonly Replicated?: { readonly Replicas?: number } };
  readonly TaskTemplate: {
    readonly ContainerSpec: {
      readonly Labels?: Readonly<Record<string, string>> | null;
      readonly Mounts?: readonly Mounted[] | null;
    };
    readonly Networks?: TaskSpec["Networks"] | null;
  };
}

interface Stored {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: Spec;
}

interface Task {
  readonly ID: string;
  readonly Slot?: number;
  readonly Status: {
    readonly State: string;
    readonly Err?: string;
    readonly ContainerStatus?: { readonly ContainerID: string };
  };
}

/** A service that uses the volumes. */
export interface User {
  readonly id: string;
  readonly name: string;
  /** Docker's names of all that it mounts. */
  readonly volumes: readonly string[];
  /** With how many instances it is to start again; undefined for a job, which is only kept from starting. */
  readonly replicas: number | undefined;
  /** Whether a restore, perhaps an earlier one, keeps it from starting. */
  readonly held: boolean;
}

/** Those of them that a restore stops. */
export const stoppedOf = (users: readonly User[]): string[] =>
  users.filter(({ replicas }) => replicas !== undefined).map(({ name }) => name);

const pollMs = 300;
const startMs = 180_000;
/** Beyond the time that a service has to stop. */
const stopMs = 120_000;
/** A new instance must run for so long, or it may only be about to fail. */
const provenMs = 3_000;
/** For so long, jobs may go on before the services are stopped. */
const jobMs = 300_000;
/** The longest that it may take until they start again. */
const holdMs = stopMs + 60_000;

export class Services {
  private readonly docker: Docker;

  constructor(
    { manager }: Deployed,
    private readonly owner: string,
    private readonly node: BackupNode,
  ) {
    this.docker = connect(manager.host, { sshOpts: manager.sshOpts });
  }

  private list(): Promise<Stored[]> {
    return api<Stored[]>(this.docker, "GET", "/services");
  }

  /**
   * The services that use one of the volumes.
   *
   * @param declared the number of instances of each service in the configuration. An interrupted restore may have left it at 0
   * @throws UserError if something else uses one, or a service that cannot be stopped
   */
  async usersOf(volumes: readonly string[], declared: Readonly<Record<string, number>>): Promise<User[]> {
    const mountedBy = ({ TaskTemplate }: Spec): string[] =>
      (TaskTemplate.ContainerSpec.Mounts ?? []).flatMap(({ Type, Source = "" }) =>
        Type === "volume" ? [Source] : [],
      );
    const users: User[] = [];
    for (const { ID, Spec } of await this.list()) {
      const { Name: name, Labels } = Spec;
      const mounted = mountedBy(Spec);
      if (!mounted.some((each) => volumes.includes(each))) continue;
      const found = Spec.Mode.Replicated?.Replicas;
      const held = Labels?.[holdLabel] !== undefined;
      const user = { id: ID, name, volumes: mounted, held };
      if (isJob(Labels ?? {})) users.push({ ...user, replicas: undefined });
      else if (found !== undefined)
        users.push({ ...user, replicas: found > 0 ? found : (declared[name] ?? 0) });
    }
    for (const volume of volumes)
      for (const { Names, Labels } of await this.node.running(volume))
        if (!users.some(({ name }) => name === Labels["com.docker.swarm.service.name"]))
          throw new UserError(
            `${Names.join(", ").slice(1)} on node ${this.node.node.name} uses volume ${volume} and cannot be stopped: wait until it ends, or stop it`,
          );
    return users;
  }

  /** @param hold undefined: nothing keeps it from starting any more */
  private async change(
    { id, name }: User,
    replicas: number | undefined,
    hold: string | undefined,
  ): Promise<void> {
    for (let attemptsLeft = 20; ; attemptsLeft--) {
      const { Version, Spec } = await api<Stored>(this.docker, "GET", `/services/${id}`);
      const others = Object.entries(Spec.Labels ?? {}).filter(([label]) => label !== holdLabel);
      const body = {
        ...Spec,
        Labels: { ...Object.fromEntries(others), ...(hold !== undefined && { [holdLabel]: hold }) },
        ...(replicas !== undefined && { Mode: { Replicated: { Replicas: replicas } } }),
      };
      try {
        await api(this.docker, "POST", `/services/${id}/update`, { query: { version: Version.Index }, body });
        return;
      } catch (error) {
        // Somebody else has changed it meanwhile.
        if (!/out of sequence/.test(messageOf(error)) || attemptsLeft === 0)
          throw new UserError(`${name} cannot be stopped or started: ${messageOf(error)}`);
        await sleep(pollMs);
      }
    }
  }

  /**
   * Stops the services, once jobs that are running have ended, and keeps all from starting.
   *
   * @throws UserError if containers still use the volumes in the end
   */
  async stop(users: readonly User[], volumes: readonly string[]): Promise<void> {
    const jobs = users.filter(({ replicas }) => replicas === undefined);
    const until = (ms: number): string => new Date(Date.now() + ms).toISOString();
    for (const job of jobs) await this.change(job, undefined, until(jobMs + holdMs));
    for (const job of jobs) await this.runEnded(job);
    const hold = until(holdMs);
    for (const user of users) await this.change(user, user.replicas === undefined ? undefined : 0, hold);
    await this.unused(volumes);
  }

  private async runEnded({ id, name }: User): Promise<void> {
    for (const deadlineMs = Date.now() + jobMs; ;) {
      const query = { filters: { service: [id] } };
      const tasks = await api<Task[]>(this.docker, "GET", "/tasks", { query });
      if (tasks.every(({ Status }) => endedStates.includes(Status.State))) return;
      if (Date.now() > deadlineMs)
        throw new UserError(
          `Job ${name} uses the data and does not end: wait until it has ended, and try again`,
        );
      await sleep(pollMs);
    }
  }

  private async unused(volumes: readonly string[]): Promise<void> {
    for (const deadlineMs = Date.now() + stopMs; ;) {
      const all = await Promise.all(volumes.map((volume) => this.node.running(volume)));
      const [container] = all.flat();
      if (container === undefined) return;
      if (Date.now() > deadlineMs)
        throw new UserError(`${container.Names.join(", ").slice(1)} does not stop: stop it and try again`);
      await sleep(pollMs);
    }
  }

  /** Lets them start again. */
  async release(users: readonly User[]): Promise<void> {
    for (const user of users) await this.change(user, user.replicas, undefined);
  }

  /** @throws UserError if they do not run in the end */
  async start(users: readonly User[]): Promise<void> {
    await this.release(users);
    for (const { id, name, replicas } of users)
      if (replicas !== undefined) await this.settled(id, name, replicas);
  }

  private async settled(id: string, name: string, replicas: number): Promise<Task[]> {
    let failure = "";
    let sinceMs = Date.now();
    let known = "";
    for (const deadlineMs = Date.now() + startMs; ;) {
      const tasks = await api<Task[]>(this.docker, "GET", "/tasks", {
        query: { filters: { service: [id] } },
      });
      const running = tasks.filter(({ Status }) => Status.State === "running");
      const ids = running
        .map(({ ID }) => ID)
        .sort()
        .join();
      if (ids !== known) [known, sinceMs] = [ids, Date.now()];
      if (running.length >= replicas && (replicas === 0 || Date.now() - sinceMs > provenMs)) return running;
      failure = tasks.find(({ Status }) => Status.State === "failed" || Status.State === "rejected")?.Status.Err ?? failure; // prettier-ignore
      if (Date.now() > deadlineMs)
        throw new UserError(
          `${name} does not run${failure && `: ${failure}`}; docker service logs ${name} says more`,
        );
      await sleep(pollMs);
    }
  }

  /**
   * Starts an instance of a service beside it, on other volumes, unknown to Consul and without the service's names in networks.
   *
   * @param volumes the names of those to use instead
   * @returns the ID of its container
   */
  async startBeside(name: string, volumes: Readonly<Record<string, string>>): Promise<string> {
    const found = (await this.list()).find(({ Spec }) => Spec.Name === name);
    if (found === undefined) throw new UserError(`${name} is not deployed: deploy it first, with script/up`);
    const { ContainerSpec, Networks, ...template } = found.Spec.TaskTemplate;
    const beside = loadingName(name);
    const { ID } = await api<{ ID: string }>(this.docker, "POST", "/services/create", {
      body: {
        Name: beside,
        Labels: { [OWNER_LABEL]: this.owner, [besideLabel]: name },
        Mode: { Replicated: { Replicas: 1 } },
        TaskTemplate: {
          ...template,
          ...withoutAliases(Networks),
          // Docker may fail to start a container when it is busy.
          RestartPolicy: { Condition: "on-failure", Delay: 1_000_000_000, MaxAttempts: 2 },
          ContainerSpec: {
            ...ContainerSpec,
            Labels: { ...ContainerSpec.Labels, ...decisive({ SERVICE_IGNORE: "true" }) },
            Mounts: (ContainerSpec.Mounts ?? []).map((mount) => {
              const other = mount.Type === "volume" ? volumes[mount.Source ?? ""] : undefined;
              if (other !== undefined) return { ...mount, Source: other };
              // The present instance uses it.
              return mount.Type === "tmpfs" ? mount : { ...mount, ReadOnly: true };
            }),
          },
        },
      },
    });
    const [task] = await this.settled(ID, beside, 1);
    return task?.Status.ContainerStatus?.ContainerID ?? "";
  }

  /** Removes what {@link startBeside} or an interrupted run of it made, and waits until the volumes are unused. */
  async removeBeside(name: string, volumes: readonly string[]): Promise<void> {
    const beside = loadingName(name);
    const found = (await this.list()).find(
      ({ Spec: { Name, Labels } }) =>
        Name === beside && Labels?.[OWNER_LABEL] === this.owner && Labels[besideLabel] === name,
    );
    if (found !== undefined) await unless([404], api(this.docker, "DELETE", `/services/${found.ID}`));
    await this.unused(volumes);
  }
}
