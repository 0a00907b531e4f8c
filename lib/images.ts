/** Images go to and come from registries. */
import type Docker from "dockerode";
import { DOCKER_HUB, registryOf, type Login } from "./credentials";
import { messageOf, UserError } from "./errors";

/** A line of what Docker reports while it builds, pushes or pulls. */
export interface Progress {
  readonly error?: string;
  readonly id?: string;
  /** Text of a build without BuildKit. */
  readonly stream?: string;
  readonly aux?: unknown;
}

/**
 * Waits for the end of what Docker reports.
 *
 * @throws Error with what it reports as an error
 */
export function finished(
  docker: Docker,
  stream: NodeJS.ReadableStream,
  onProgress?: (line: Progress) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const onEnd = (error: Error | null, output: Progress[] | undefined) => {
      const failed = error?.message ?? output?.find((line) => line.error)?.error;
      if (failed === undefined) resolve();
      else reject(new Error(failed));
    };
    docker.modem.followProgress(stream, onEnd, onProgress);
  });
}

/** Where the login for an image is. */
export function loginPlaces(image: string): string {
  const registry = registryOf(image);
  const host = registry === DOCKER_HUB ? "docker.io" : registry;
  return `registries["${host}"] or \`docker login ${host}\``;
}

const cureOf = (name: string, login: Login | undefined, right: string): string =>
  login === undefined
    ? `log in with ${loginPlaces(name)}`
    : `check the password in ${loginPlaces(name)}, and that user ${login.username} may ${right} it`;

/** @throws UserError if the registry does not take it */
export async function pushImage(docker: Docker, name: string, login: Login | undefined): Promise<void> {
  try {
    await finished(docker, await docker.getImage(name).push({ authconfig: login ?? {} }));
  } catch (error) {
    const cure = cureOf(name, login, "push");
    throw new UserError(
      `The image ${name} cannot be pushed (${messageOf(error)}): ${cure}, or correct \`registry\`.`,
    );
  }
}

/** @throws UserError if the registry does not give it */
export async function pullImage(docker: Docker, name: string, login: Login | undefined): Promise<void> {
  const tagged = /[:@][^/]*$/.test(name) ? name : `${name}:latest`;
  try {
    await finished(docker, await docker.pull(tagged, { authconfig: login }));
  } catch (error) {
    const cure = `check its name and the connection to its registry, and ${cureOf(name, login, "pull")}`;
    throw new UserError(`The image ${name} cannot be pulled (${messageOf(error)}): ${cure}.`);
  }
}

/** The image's digest in its own repository, once it has been pushed or pulled. */
export async function digestOf(docker: Docker, name: string): Promise<string | undefined> {
  const { RepoDigests } = await docker.getImage(name).inspect();
  const repository = name.replace(/@.*$/, "").replace(/:[^:/]*$/, "");
  return (RepoDigests as string[] | null)?.find((known) => known.startsWith(`${repository}@`));
}
