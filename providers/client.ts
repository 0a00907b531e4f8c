/** Connections to a Docker Engine. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { Agent } from "node:http";
import { homedir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import Docker from "dockerode";
import type { Login } from "../lib/credentials";
import { messageOf } from "../lib/errors";
import { outputOf } from "../lib/run";
import { Semaphore } from "../lib/semaphore";
import { escapeLines } from "../lib/text";

type Method = "GET" | "POST" | "DELETE";

/** Pause between two attempts of a call. */
const RETRY_PAUSE_MS = 500;

interface Modem {
  dial(
    options: {
      path: string;
      method: Method;
      options: { _query: object; _body: object };
      authconfig?: Login;
      statusCodes: Record<number, true>;
    },
    done: (error: unknown, data: unknown) => void,
  ): void;
}

interface DialError {
  readonly message?: string;
  readonly statusCode?: number;
  readonly json?: { readonly message?: string } | null;
}

/** A failed call of the engine's API. Without `statusCode`, the engine did not answer at all. */
export interface DockerError extends Error {
  statusCode?: number;
}

export interface ConnectOptions {
  /** How long to wait for the start of an answer; 0 for no limit. Default: 60,000. */
  readonly answerTimeoutMs?: number;
  /** Options of `ssh` for `ssh://` URLs. Default: the user's own configuration. */
  readonly sshOpts?: readonly string[] | undefined;
}

/** Where an engine is, and how to get there. */
export interface Engine extends Pick<ConnectOptions, "sshOpts"> {
  /** Its Docker URL. */
  readonly host: string;
}

/** Whether two resources use the same options of `ssh`. */
export function sameSsh(one: ConnectOptions, other: ConnectOptions): boolean {
  return (one.sshOpts ?? []).join("\n") === (other.sshOpts ?? []).join("\n");
}

/** The Docker URL of each client, for error messages. */
const urls = new WeakMap<Docker, string>();

/**
 * A client for a Docker URL: `unix:///path`, `tcp://host:port` or `ssh://[user@]host[:port]`.
 *
 * @throws Error if it is not such a URL
 */
export function connect(host: string, options: ConnectOptions = {}): Docker {
  const docker = clientOf(host, options);
  urls.set(docker, host);
  return docker;
}

function clientOf(host: string, options: ConnectOptions): Docker {
  const { answerTimeoutMs = 60_000, sshOpts } = options;
  // docker-modem fills gaps from DOCKER_HOST and its kin, which may name another engine.
  const none = { host: "", port: "", ca: undefined, cert: undefined, key: undefined, pathPrefix: "/" };
  // @types/dockerode does not know the timeout.
  const limits = { ...none, ...(answerTimeoutMs > 0 && { connectionTimeout: answerTimeoutMs }) };
  if (host.startsWith("unix://")) {
    return new Docker({ ...limits, protocol: "http", socketPath: host.slice("unix://".length) });
  }
  const match = /^(tcp|ssh):\/\/([^/]+)\/?$/.exec(host);
  if (match === null) {
    throw new Error(
      `"${host}" is not a Docker URL: write unix:///var/run/docker.sock, tcp://HOST:2376 or ssh://USER@HOST`,
    );
  }
  const url = new URL(host);
  if (url.protocol === "ssh:") {
    // Like `docker` itself, use the ssh command: the user's ~/.ssh/config, agent and known hosts all apply.
    const agent = new Agent({ keepAlive: false });
    const createConnection = (_options: object, done: (error: null, connection: Duplex) => void): void => {
      void startOf(url.host).then((started) => {
        done(null, dialSsh(sshArguments(host, sshOpts), answerTimeoutMs, started));
      });
    };
    Object.assign(agent, { createConnection });
    // dialSsh enforces the time limit itself: docker-modem would only report "socket hang up".
    return new Docker({ ...none, protocol: "http", host: "docker", port: 80, ...{ agent } });
  }
  const port = url.port === "" ? "2376" : url.port;
  if (port !== "2376" && process.env["DOCKER_TLS_VERIFY"] !== "1") {
    return new Docker({ ...limits, protocol: "http", host: url.hostname, port });
  }
  const folder = process.env["DOCKER_CERT_PATH"] ?? join(homedir(), ".docker");
  return new Docker({
    ...limits,
    protocol: "https",
    host: url.hostname,
    port,
    ca: readFileSync(join(folder, "ca.pem")),
    cert: readFileSync(join(folder, "cert.pem")),
    key: readFileSync(join(folder, "key.pem")),
  });
}

/**
 * The arguments of `ssh` up to the command. ssh uses the first value of each option, so the user's options come first. A
 * dead connection is closed after 45 s.
 */
export function sshArguments(host: string, sshOpts: readonly string[] = []): string[] {
  const url = new URL(host);
  const target = url.username === "" ? url.hostname : `${decodeURIComponent(url.username)}@${url.hostname}`;
  const port = url.port === "" ? [] : ["-p", url.port];
  const ours = ["BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=15", "ServerAliveCountMax=3"];
  return [...sshOpts, ...ours.flatMap((option) => ["-o", option]), "-T", ...port, "--", target];
}

/**
 * Runs a command on the machine of an `ssh://` URL and returns its output.
 *
 * @throws Error with the host, the command, and the error output of ssh or the command, or if it takes longer than `timeoutMs` (default: 30,000)
 */
export function runBySsh(
  { host, sshOpts }: Engine,
  command: readonly string[],
  timeoutMs = 30_000,
): Promise<string> {
  const label = `ssh ${host} ${command.join(" ")}`;
  return outputOf("ssh", [...sshArguments(host, sshOpts), ...command], { timeoutMs, label });
}

/**
 * A command for the user to run on a Docker Engine. For SSH, it is `ssh` itself: `docker` takes no options for it, such as the
 * stack's key, and hides much of its output.
 */
export function dockerCommand({ host, sshOpts = [] }: Engine, command: string): string {
  return host.startsWith("ssh://")
    ? ["ssh", ...sshOpts, host, "docker", command].join(" ")
    : `docker -H ${host} ${command}`;
}

/**
 * How many connections to a machine may be starting at the same time. A handshake takes a small machine most of a second, so one for
 * each resource of a refresh would exceed ssh's own timeout, and that of an answer.
 */
const STARTS = 4;
const starts = new Map<string, Semaphore>();

/** Waits until another connection to the machine may start. Call the result when an answer begins, or when the connection ends. */
function startOf(machine: string): Promise<() => void> {
  const semaphore = starts.get(machine) ?? new Semaphore(STARTS);
  starts.set(machine, semaphore);
  return semaphore.acquire();
}

/**
 * A connection to the Docker Engine behind ssh; it fails if no answer begins within `answerTimeoutMs`, unless that is 0.
 *
 * @param started is called once an answer has begun or the connection has ended, perhaps more than once
 */
function dialSsh(target: readonly string[], answerTimeoutMs: number, started: () => void): Duplex {
  // In a group of its own: Ctrl-C is for this process, which may have to finish something first.
  const child = spawn("ssh", [...target, "docker", "system", "dial-stdio"], { detached: true });
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-500);
  });
  let timer: NodeJS.Timeout | undefined;
  // A broken pipe means that ssh gave up; "close" reports why.
  child.stdin.on("error", () => undefined);
  const duplex = new Duplex({
    read: () => void child.stdout.resume(),
    write: (chunk, _encoding, done) =>
      void child.stdin.write(chunk, () => {
        done();
      }),
    final: (done) =>
      void child.stdin.end(() => {
        done();
      }),
    destroy: (error, done) => {
      started();
      clearTimeout(timer);
      child.kill();
      done(error);
    },
  });
  if (answerTimeoutMs > 0) {
    timer = setTimeout(() => {
      const said = escapeLines(errors).trim();
      const limit = `${answerTimeoutMs / 1000} s`;
      duplex.destroy(new Error(`ssh: Docker did not answer within ${limit}${said && `: ${said}`}`));
    }, answerTimeoutMs);
  }
  child.stdout.on("data", (chunk: Buffer) => {
    started();
    clearTimeout(timer);
    if (!duplex.push(chunk)) child.stdout.pause();
  });
  child.on("error", (error) => duplex.destroy(error));
  child.on("close", (code) => {
    started();
    if (code === 0 || code === null) duplex.push(null);
    else duplex.destroy(new Error(`ssh: ${escapeLines(errors).trim() || `exit code ${code}`}`));
  });
  // node:http treats the connection as a socket.
  const nothing = () => duplex;
  return Object.assign(duplex, {
    setTimeout: nothing,
    setNoDelay: nothing,
    setKeepAlive: nothing,
    ref: nothing,
    unref: nothing,
  });
}

interface Payload {
  /** Values other than strings are sent as JSON, as the API's `filters` require. */
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: object;
  /** The login for the registry of an image, which is in a header. */
  readonly login?: Login | undefined;
}

/** Whether a call failed because the Swarm is electing a leader, for example after the last one was demoted or lost. */
export const isElection = (error: unknown): boolean =>
  /DeadlineExceeded|does not have a leader|lost leader status/.test(messageOf(error));

/**
 * One call of the engine's API. A GET is retried for up to 30 s while the Swarm's managers elect a leader.
 *
 * @throws DockerError with Docker's own message, the engine's URL and what it was asked
 */
export async function api<T>(docker: Docker, method: Method, path: string, send: Payload = {}): Promise<T> {
  for (const deadlineMs = Date.now() + 30_000; ;) {
    try {
      return await call<T>(docker, method, path, send);
    } catch (error) {
      if (method !== "GET" || !isElection(error) || Date.now() > deadlineMs) throw error;
      await sleep(RETRY_PAUSE_MS);
    }
  }
}

/** dockerode types its Swarm methods as `any` and lacks some (a task's logs), so this calls its modem. */
function call<T>(docker: Docker, method: Method, path: string, send: Payload): Promise<T> {
  const modem = docker.modem as Modem;
  return new Promise((resolve, reject) => {
    modem.dial(
      {
        // The modem appends the query to a path that ends in "?", and damages a path that already has one.
        path: send.query === undefined ? path : `${path}?`,
        method,
        options: { _query: send.query ?? {}, _body: send.body ?? {} },
        ...(send.login && { authconfig: send.login }),
        statusCodes: { 200: true, 201: true, 204: true },
      },
      (error, data) => {
        if (error === null || error === undefined) {
          resolve(data as T);
          return;
        }
        const { statusCode, json, message } = error as DialError;
        const asked = `${method} ${path.replace(/\?.*/, "")} at ${urls.get(docker) ?? "Docker"}`;
        if (statusCode === undefined) reject(new Error(`${causeOf(message)} (${asked})`));
        else {
          const answer = json?.message ?? message ?? "no message";
          reject(Object.assign(new Error(`${answer} (${statusCode} for ${asked})`), { statusCode }));
        }
      },
    );
  });
}

/** Why there was no answer. Node.js's own words do not say who hung up. */
function causeOf(message = ""): string {
  if (message === "socket hang up" || /ECONNRESET|EPIPE/.test(message)) {
    return "Docker closed the connection, or did not answer in time: check that it is running there";
  }
  return message.trim() || "no answer";
}

/** The result of the call, or undefined if it fails with one of these status codes. */
export async function unless<T>(statusCodes: readonly number[], call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    const { statusCode } = error as DockerError;
    if (statusCode !== undefined && statusCodes.includes(statusCode)) return undefined;
    throw error;
  }
}

/** The text of a container's output or log stream, without the eight bytes that Docker puts before each piece. */
export function textOf(stream: Buffer): string {
  const pieces: Buffer[] = [];
  for (let at = 0; at + 8 <= stream.length;) {
    const end = at + 8 + stream.readUInt32BE(at + 4);
    pieces.push(stream.subarray(at + 8, end));
    at = end;
  }
  return Buffer.concat(pieces).toString();
}

export function sleep(pauseMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, pauseMs));
}
