import type Docker from "dockerode";
import { api, textOf } from "./client";
import { escapeLines } from "../lib/text";

/** A command in a container ended with an error. Its message has the command and its output. */
export class ExecError extends Error {
  constructor(
    message: string,
    readonly exitCode: number,
  ) {
    super(message);
  }
}

/**
 * Runs a command in a running container and returns its output.
 *
 * @param env variables as `NAME=value`, in addition to the container's
 * @throws ExecError if it fails, DockerError if it cannot run
 */
export async function execIn(
  docker: Docker,
  container: string,
  command: readonly string[],
  env: readonly string[] = [],
): Promise<string> {
  const { Id } = await api<{ Id: string }>(docker, "POST", `/containers/${container}/exec`, {
    body: { Cmd: command, Env: env, AttachStdout: true, AttachStderr: true },
  });
  const output = await api<unknown>(docker, "POST", `/exec/${Id}/start`, { body: { Detach: false } });
  const { ExitCode } = await api<{ ExitCode: number }>(docker, "GET", `/exec/${Id}/json`);
  const text = Buffer.isBuffer(output) ? textOf(output).trim() : "";
  if (ExitCode !== 0)
    throw new ExecError(`${command.join(" ")}: ${escapeLines(text) || "no output"}`, ExitCode);
  return text;
}
