/** Calls of Docker's API about containers. */
import type Docker from "dockerode";
import { api, sleep, textOf, unless } from "./client";
import { escapeLines } from "../lib/text";

/** A container as the engine reports it. */
export interface Details {
  readonly Id: string;
  /** With a leading slash. */
  readonly Name: string;
  readonly RestartCount: number;
  readonly Config: { readonly Labels?: Readonly<Record<string, string>> | null };
  readonly HostConfig: { readonly RestartPolicy: { readonly Name: string } };
  readonly Mounts: readonly { readonly Name?: string; readonly Destination: string }[];
  readonly State: {
    readonly Running: boolean;
    readonly Restarting: boolean;
    readonly ExitCode: number;
    /** Missing if the image has no health check. */
    readonly Health?: { readonly Status: string; readonly Log: readonly HealthResult[] | null };
  };
}

interface HealthResult {
  readonly Start: string;
  readonly ExitCode: number;
  readonly Output: string;
}

/** A container in the engine's list. */
export interface Listed {
  readonly Id: string;
  readonly Names: readonly string[];
  readonly Labels: Readonly<Record<string, string>>;
  readonly State: string;
}

const POLL_MS = 200;
/** How long a container may take to stop before it is killed. */
const GRACE_SECONDS = 15;

export function find(docker: Docker, nameOrId: string): Promise<Details | undefined> {
  return unless([404], api<Details>(docker, "GET", `/containers/${nameOrId}/json`));
}

/** Whether it runs, and is healthy if it has a health check. */
export const isHealthy = ({ State }: Pick<Details, "State">): boolean =>
  State.Running && (State.Health?.Status ?? "healthy") === "healthy";

/** All containers with a label, running or not. Without `value`, whatever its value is. */
export function withLabel(docker: Docker, label: string, value?: string): Promise<Listed[]> {
  const query = { all: true, filters: { label: [value === undefined ? label : `${label}=${value}`] } };
  return api<Listed[]>(docker, "GET", "/containers/json", { query });
}

export async function start(docker: Docker, id: string): Promise<void> {
  await unless([304], api(docker, "POST", `/containers/${id}/start`));
}

export async function stop(docker: Docker, id: string): Promise<void> {
  await unless([304, 404], api(docker, "POST", `/containers/${id}/stop`, { query: { t: GRACE_SECONDS } }));
}

export async function restart(docker: Docker, id: string): Promise<void> {
  await api(docker, "POST", `/containers/${id}/restart`, { query: { t: GRACE_SECONDS } });
}

export async function rename(docker: Docker, id: string, name: string): Promise<void> {
  await api(docker, "POST", `/containers/${id}/rename`, { query: { name } });
}

export async function setRestartPolicy(docker: Docker, id: string, policy: string): Promise<void> {
  await api(docker, "POST", `/containers/${id}/update`, { body: { RestartPolicy: { Name: policy } } });
}

/**
 * Stops and removes a container, with the anonymous volumes that its image declares. 409: somebody else is removing it.
 */
export async function remove(docker: Docker, id: string): Promise<void> {
  await stop(docker, id);
  await unless([404, 409], api(docker, "DELETE", `/containers/${id}`, { query: { force: true, v: true } }));
}

/** Polls a container until `done` returns true (then true), or the time is up (then false). */
export async function waitFor(
  docker: Docker,
  id: string,
  timeoutMs: number,
  done: (container: Details | undefined) => boolean,
): Promise<boolean> {
  for (const deadlineMs = Date.now() + timeoutMs; ;) {
    if (done(await find(docker, id))) return true;
    if (Date.now() > deadlineMs) return false;
    await sleep(POLL_MS);
  }
}

/** What the container's health check and its log said last. */
export async function lastWords(docker: Docker, id: string): Promise<string> {
  const query = { stdout: true, stderr: true, tail: 10 };
  // A log that cannot be read must not hide the actual failure.
  const log = await api<unknown>(docker, "GET", `/containers/${id}/logs`, { query }).catch(() => undefined);
  const lines = Buffer.isBuffer(log) ? escapeLines(textOf(log)).trim() : "";
  const results = (await find(docker, id).catch(() => undefined))?.State.Health?.Log ?? [];
  const failed = results.filter(({ ExitCode }) => ExitCode !== 0).at(-1);
  const output = escapeLines(failed?.Output ?? "").trim();
  return [
    ...(output === "" ? [] : [`Output of its health check: ${output.slice(-500)}`]),
    ...(lines === "" ? [] : [`Its last log lines:\n${lines.replace(/^/gm, "  ")}`]),
  ].join("\n");
}
