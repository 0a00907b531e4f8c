/** The user's login for a registry, found where `docker` itself looks. */
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { messageOf, UserError } from "./errors";
import { run } from "./run";
import { isMapping } from "./values";

/** The key of Docker Hub in Docker's configuration. */
export const DOCKER_HUB = "https://index.docker.io/v1/";
const HELPER_TIMEOUT_MS = 30_000;

/** As Docker's API takes it. */
export interface Login {
  readonly username: string;
  readonly password: string;
  readonly serveraddress: string;
  /** Instead of a password. */
  readonly identitytoken?: string;
}

interface DockerConfig {
  readonly auths?: Readonly<Record<string, { readonly auth?: string; readonly identitytoken?: string }>>;
  readonly credsStore?: string;
  readonly credHelpers?: Readonly<Record<string, string>>;
}

/** The registry of an image, as named in Docker's configuration and by `docker login`. */
export function registryOf(image: string): string {
  const [host = "", ...rest] = image.split("/");
  const isHost = rest.length > 0 && (/[.:]/.test(host) || host === "localhost");
  return isHost && !/^(index\.)?docker\.io$/.test(host) ? host : DOCKER_HUB;
}

/**
 * The login for a registry: from its own credential helper, else from the credential store, else from config.json. Undefined
 * if the user has not logged in.
 *
 * @throws UserError if the configuration or a credential helper is broken
 */
export async function credentialsFor(registry: string): Promise<Login | undefined> {
  const file = path.join(process.env.DOCKER_CONFIG ?? path.join(homedir(), ".docker"), "config.json");
  const { auths = {}, credsStore = "", credHelpers = {} } = readConfig(file);
  const helper = credHelpers[registry] ?? credsStore;
  if (helper !== "") return askHelper(helper, registry, file);
  // Older versions of Docker wrote URLs.
  const former = Object.keys(auths).find((key) => hostOf(key) === registry);
  const { auth = "", identitytoken } = auths[registry] ?? auths[former ?? ""] ?? {};
  const [username = "", ...password] = Buffer.from(auth, "base64").toString().replace(/\0+$/, "").split(":");
  if (identitytoken) return tokenLogin(username, identitytoken, registry);
  return auth === "" ? undefined : { username, password: password.join(":"), serveraddress: registry };
}

/** Logins by registry: `ghcr.io`, or `docker.io` for Docker Hub. */
export type Logins = Readonly<Record<string, { readonly username: string; readonly password: string }>>;

/**
 * The login for a registry, as {@link registryOf} names it: one of these, or else the user's own.
 *
 * @throws UserError if Docker's configuration or a credential helper is broken
 */
export async function loginFor(registry: string, logins: Logins = {}): Promise<Login | undefined> {
  const [own] = Object.values(loginsFor(registry, logins));
  return own === undefined ? credentialsFor(registry) : { ...own, serveraddress: registry };
}

/** Those of the logins that are for a registry, as {@link registryOf} names it: one, or none. */
export const loginsFor = (registry: string, logins: Logins): Logins =>
  Object.fromEntries(Object.entries(logins).filter(([host]) => registryOf(`${host}/image`) === registry));

function readConfig(file: string): DockerConfig {
  if (!existsSync(file)) return {};
  try {
    const config: unknown = JSON.parse(readFileSync(file, "utf8"));
    return isMapping(config) ? config : {};
  } catch (error) {
    throw new UserError(
      `Docker's configuration ${file} cannot be read (${messageOf(error)}): correct it, or log in again with \`docker login\`.`,
    );
  }
}

const hostOf = (url: string): string => url.replace(/^https?:\/\//, "").replace(/\/.*$/, "");

/** With a token, Docker needs no password, but its types do. */
function tokenLogin(username: string, token: string, registry: string): Login {
  return { username, password: "", serveraddress: registry, identitytoken: token };
}

/** The protocol of docker-credential-helpers: the registry on standard input, a JSON object on standard output. */
async function askHelper(helper: string, registry: string, file: string): Promise<Login | undefined> {
  const program = `docker-credential-${helper}`;
  const failure = (why: string) =>
    new UserError(
      `Docker's credential helper ${program}, configured in ${file}, returned no login for ${registry} (${why}): ` +
        `install or unlock it, or remove it from the file and log in again with \`docker login\`.`,
    );
  if (!/^[\w.-]+$/.test(helper)) throw failure("this is not a valid name of a helper");
  const options = { timeoutMs: HELPER_TIMEOUT_MS, input: registry };
  const { code, stdout, stderr } = await run(program, ["get"], options).catch((error: unknown) => {
    throw failure(messageOf(error));
  });
  if (code !== 0) {
    const complaint = (stderr.trim() || stdout.trim()).slice(-300);
    if (/credentials not found/i.test(complaint)) return undefined;
    throw failure(complaint || `exit code ${code}`);
  }
  let answer: unknown;
  try {
    answer = JSON.parse(stdout);
  } catch {
    throw failure("its output is not JSON");
  }
  const { Username, Secret } = isMapping(answer) ? answer : {};
  if (typeof Username !== "string" || typeof Secret !== "string")
    throw failure("its output contains no login");
  if (Username === "<token>") return tokenLogin("", Secret, registry);
  return { username: Username, password: Secret, serveraddress: registry };
}
