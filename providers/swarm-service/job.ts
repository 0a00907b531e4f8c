/** Jobs: what runs once before a rollout, and the runs of a service with a schedule. */
import type Docker from "dockerode";
import type { Login } from "../../lib/credentials";
import { messageOf } from "../../lib/errors";
import { endedStates, holdLabel, isHeld } from "../../routing/jobs/docker";
import { decisive } from "../../routing/registration";
import { api, sleep, unless } from "../client";
import { OWNER_LABEL } from "../owner";
import { beforeName, deadlineMsOf } from "./inputs";
import { withoutAliases, type ServiceSpec, type TaskSpec } from "./spec";
import { escapeLines } from "../../lib/text";
import { explain, findService, lastLines, tasksOf, vanish, type ServiceDetails, type Task } from "./tasks"; // prettier-ignore

const POLL_MS = 200;

interface Before {
  /** The service's name. */
  readonly name: string;
  /** The program and its arguments. */
  readonly command: readonly string[];
  /** The instances that are to start afterwards. */
  readonly template: TaskSpec;
  readonly marks: Readonly<Record<string, string>>;
  readonly login?: Login | undefined;
  /** How long it may wait for a node, or for its image. It may run for as long as it likes. */
  readonly timeoutSeconds: number;
}

/** The Swarm service that runs the command once, as an instance of the service would run, but without its names in networks. Pure. */
export function beforeSpec({
  name,
  command,
  template,
  marks,
}: Omit<Before, "timeoutSeconds" | "login">): ServiceSpec {
  const [program = "", ...args] = command;
  const { ContainerSpec: container, Networks, ...rest } = template;
  return {
    Name: beforeName(name),
    Labels: marks,
    TaskTemplate: {
      ...rest,
      ...withoutAliases(Networks),
      ContainerSpec: {
        ...container,
        Command: [program],
        Args: args,
        Labels: decisive({ SERVICE_IGNORE: "true" }),
        Healthcheck: { Test: ["NONE"] },
      },
      RestartPolicy: { Condition: "none" },
    },
    // Swarm's mode for jobs leaves tasks and containers behind when their service is removed (Docker 20.10).
    Mode: { Replicated: { Replicas: 1 } },
  };
}

/** @throws Error with its exit code and the last lines of its log, if it fails */
export async function runBefore(docker: Docker, before: Before): Promise<void> {
  const { name, marks, timeoutSeconds } = before;
  await removeBefore(docker, name, marks);
  let id: string;
  try {
    const body = beforeSpec(before);
    ({ ID: id } = await api<{ ID: string }>(docker, "POST", "/services/create", {
      body,
      login: before.login,
    }));
  } catch (error) {
    throw new Error(`Docker rejected what is to run before service ${name}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  try {
    const task = await ended(docker, id, name, timeoutSeconds);
    const log = await lastLines(docker, task.ID);
    // Both engines show what a provider writes.
    console.warn(`${name}: before has succeeded.${log === "" ? "" : ` Its last log lines:\n${log}`}`);
  } finally {
    await drop(docker, id);
  }
}

/** Removes what a run of `up` that was killed has left. */
export async function removeBefore(
  docker: Docker,
  name: string,
  marks: Readonly<Record<string, string>>,
): Promise<void> {
  const left = await findService(docker, beforeName(name));
  if (left === undefined) return;
  const owner = left.Spec.Labels?.[OWNER_LABEL];
  if (owner !== marks[OWNER_LABEL])
    throw new Error(
      `The Swarm already has a service ${left.Spec.Name} that belongs to ${owner ?? "no stack of Switchyard"}, ` +
        `but what runs before ${name} needs that name. Remove it: docker service rm ${left.Spec.Name}`,
    );
  await drop(docker, left.ID);
}

/** Removes what a run of `up` that was killed has left for a service that has nothing to run before any more. */
export async function forgetBefore(
  docker: Docker,
  name: string,
  marks: Readonly<Record<string, string>>,
): Promise<void> {
  const left = await findService(docker, beforeName(name));
  // A service of the stack itself may have the name: its marks are others.
  const isOurs = Object.entries(marks).every(([label, value]) => left?.Spec.Labels?.[label] === value);
  if (left !== undefined && isOurs) await drop(docker, left.ID);
}

async function drop(docker: Docker, id: string): Promise<void> {
  await unless([404, 503], api(docker, "DELETE", `/services/${id}`));
  await vanish(docker, id, 40);
}

async function ended(docker: Docker, id: string, name: string, timeoutSeconds: number): Promise<Task> {
  let [stateBefore, sinceMs] = ["", Date.now()];
  for (;;) {
    const [task] = await tasksOf(docker, id);
    const state = task?.Status.State ?? "new";
    if (state !== stateBefore) [stateBefore, sinceMs] = [state, Date.now()];
    if (task !== undefined && state === "complete") return task;
    if (task !== undefined && endedStates.includes(state)) throw await failure(docker, task, name);
    if (state !== "running" && Date.now() - sinceMs > timeoutSeconds * 1000) {
      const why = task === undefined ? "Docker has not begun" : await explain(docker, task);
      throw new Error(`before of service ${name} did not start within ${timeoutSeconds} s. ${why}`);
    }
    if (task === undefined && (await findService(docker, id)) === undefined)
      throw new Error(`before of service ${name} was removed from outside`);
    await sleep(POLL_MS);
  }
}

async function failure(docker: Docker, task: Task, name: string): Promise<Error> {
  const { ContainerStatus, State, Err } = task.Status;
  const code = ContainerStatus?.ExitCode ?? 0;
  const how = State === "failed" && code !== 0 ? `with exit code ${code}` : `(${escapeLines(Err ?? State)})`;
  const log = await lastLines(docker, task.ID);
  return new Error(
    `before of service ${name} failed ${how}, so nothing of the service has changed.` +
      (log === "" ? " It wrote nothing to its log." : ` Its last log lines:\n${log}`),
  );
}

/** Waits for the end of a job's run, so that a change does not break it off; at most until its deadline. */
export async function endOfRun(docker: Docker, service: ServiceDetails): Promise<void> {
  const deadlineMs = deadlineMsOf(service.Spec.Labels);
  let isSaid = false;
  for (;;) {
    const tasks = await tasksOf(docker, service.ID);
    const running = tasks.find(({ Status }) => !endedStates.includes(Status.State));
    // Without the time of its start, not at all.
    if (running === undefined || !(Date.now() < Date.parse(running.CreatedAt ?? "") + deadlineMs)) return;
    if (!isSaid) console.warn(`${service.Spec.Name} is running: waiting until it has ended.`);
    isSaid = true;
    await sleep(POLL_MS);
  }
}

/**
 * Waits until no restore holds the service, which would exchange the data under its instances.
 *
 * @returns the service as it is then; undefined if it is gone
 */
export async function waitUntilReleased(
  docker: Docker,
  service: ServiceDetails,
): Promise<ServiceDetails | undefined> {
  let isSaid = false;
  for (let found: ServiceDetails | undefined = service; ; found = await findService(docker, service.ID)) {
    const labels = found?.Spec.Labels ?? {};
    if (!isHeld(labels, Date.now())) return found;
    if (!isSaid)
      console.warn(
        `script/restore is exchanging the data of ${service.Spec.Name}: it is changed afterwards, or, if the restore was killed, at ${labels[holdLabel] ?? ""}.`,
      );
    isSaid = true;
    await sleep(POLL_MS);
  }
}
