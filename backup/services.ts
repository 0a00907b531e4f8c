/** The Swarm services that use volumes: stopped while data is exchanged, and started again. */
import type Docker from "dockerode";

import { UserError } from "../lib/errors";
import { api, connect, sleep, unless } from "../providers/client";
import { OWNER_LABEL } from "../providers/owner";
import { isJob } from "../routing/jobs/docker";
import type { BackupNode } from "./node";
import type { Deployed } from "./stack";

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

/** A service that is to be stopped and started, and with how many instances. */
export interface User {
  readonly id: string;
  readonly name: string;
  readonly replicas: number;
}

const pollMs = 300;
const startMs = 180_000;
/** Beyond the time that a service has to stop. */
const stopMs = 120_000;
/** A new instance must run for so long, or it may only be about to fail. */
const provenMs = 3_000;

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
    const uses = ({ Spec }: Stored) =>
      (Spec.TaskTemplate.ContainerSpec.Mounts ?? []).some(
        ({ Type, Source = "" }) => Type === "volume" && volumes.includes(Source),
      );
    const services = (await this.list()).filter(uses);
    const users: User[] = [];
    for (const { ID, Spec } of services) {
      const replicas = Spec.Mode.Replicated?.Replicas;
      if (replicas === undefined || isJob(Spec.Labels ?? {})) continue;
      users.push({ id: ID, name: Spec.Name, replicas: replicas > 0 ? replicas : (declared[Spec.Name] ?? 0) });
    }
    for (const volume of volumes)
      for (const { Names, Labels } of await this.node.running(volume))
        if (!users.some(({ name }) => name === Labels["com.docker.swarm.service.name"]))
          throw new UserError(
            `${Names.join(", ").slice(1)} on node ${this.node.node.name} uses volume ${volume} and cannot be stopped: wait until it ends, or stop it`,
          );
    return users;
  }

  private async scale(id: string, replicas: number): Promise<void> {
    const { Version, Spec } = await api<Stored>(this.docker, "GET", `/services/${id}`);
    await api(this.docker, "POST", `/services/${id}/update`, {
      query: { version: Version.Index },
      body: { ...Spec, Mode: { Replicated: { Replicas: replicas } } },
    });
  }

  /** @throws UserError if containers still use the volumes in the end */
  async stop(users: readonly User[], volumes: readonly string[]): Promise<void> {
    for (const { id } of users) await this.scale(id, 0);
    await this.unused(volumes);
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

  /** @throws UserError if they do not run in the end */
  async start(users: readonly User[]): Promise<void> {
    for (const { id, replicas } of users) await this.scale(id, replicas);
    for (const { id, name, replicas } of users) await this.settled(id, name, replicas);
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
   * Starts an instance of a service beside it, on other volumes and unknown to Consul.
   *
   * @param volumes the names of those to use instead
   * @returns the ID of its container
   */
  async startBeside(name: string, volumes: Readonly<Record<string, string>>): Promise<string> {
    const found = (await this.list()).find(({ Spec }) => Spec.Name === name);
    if (found === undefined) throw new UserError(`${name} is not deployed: deploy it first, with script/up`);
    const { TaskTemplate } = found.Spec;
    const { ContainerSpec } = TaskTemplate;
    const beside = besideOf(name);
    const { ID } = await api<{ ID: string }>(this.docker, "POST", "/services/create", {
      body: {
        Name: beside,
        Labels: { [OWNER_LABEL]: this.owner },
        Mode: { Replicated: { Replicas: 1 } },
        TaskTemplate: {
          ...TaskTemplate,
          RestartPolicy: { Condition: "none" },
          ContainerSpec: {
            ...ContainerSpec,
            Labels: { ...ContainerSpec.Labels, SERVICE_IGNORE: "true" },
            Mounts: (ContainerSpec.Mounts ?? []).map((mount) => ({
              ...mount,
              ...(mount.Type === "volume" && { Source: volumes[mount.Source ?? ""] ?? mount.Source }),
            })),
          },
        },
      },
    });
    const [task] = await this.settled(ID, beside, 1);
    return task?.Status.ContainerStatus?.ContainerID ?? "";
  }

  /** Removes what {@link startBeside} or an interrupted run of it made, and waits until the volumes are unused. */
  async removeBeside(name: string, volumes: readonly string[]): Promise<void> {
    const beside = besideOf(name);
    const found = (await this.list()).find(
      ({ Spec }) => Spec.Name === beside && Spec.Labels?.[OWNER_LABEL] === this.owner,
    );
    if (found !== undefined) await unless([404], api(this.docker, "DELETE", `/services/${found.ID}`));
    await this.unused(volumes);
  }
}

/** Swarm takes names of up to 63 characters. */
const besideOf = (name: string): string => `${name.slice(0, 54)}-restore`;
