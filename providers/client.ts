/**
 * How the providers of this folder reach an engine. Everything here is captured into Pulumi's serialised provider
 * code, so it is plain functions only: no classes of our own and no module state.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { Agent } from "node:http";
import { homedir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import Docker from "dockerode";

type Method = "GET" | "POST" | "DELETE";

interface Modem {
  dial(
    options: {
      path: string;
      method: Method;
      options: { _query: object; _body: object };
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

/** An answer of the engine that is not a success; `statusCode` is missing when there was no answer at all. */
export interface DockerError extends Error {
  statusCode?: number;
}

/** How to reach an engine, beyond its URL. */
export interface ConnectOptions {
  /** Milliseconds until an answer must begin; 0: no limit. Default: 30 000. */
  readonly connectionTimeout?: number;
  /** Options of `ssh`, for URLs that begin with `ssh://`. Default: the user's own configuration. */
  readonly sshOpts?: readonly string[] | undefined;
}

/** Whether two resources reach their engines with the same options of `ssh`. */
export function sameSsh(one: ConnectOptions, other: ConnectOptions): boolean {
  return (one.sshOpts ?? []).join("\n") === (other.sshOpts ?? []).join("\n");
}

/** A client for a Docker URL: `unix:///path`, `tcp://host:port` or `ssh://[user@]host[:port]`. */
export function connect(host: string, options: ConnectOptions = {}): Docker {
  const { connectionTimeout = 30_000, sshOpts } = options;
  // docker-modem takes what is not given from DOCKER_HOST and its kin, which may be another engine.
  const none = { host: "", port: "", ca: undefined, cert: undefined, key: undefined, pathPrefix: "/" };
  // @types/dockerode doesn't know the timeout.
  const limits = { ...none, ...(connectionTimeout > 0 && { connectionTimeout }) };
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
    // `docker` itself goes through the ssh command: the user's ~/.ssh/config, agent and known hosts all count.
    const agent = new Agent({ keepAlive: false });
    Object.assign(agent, { createConnection: () => dialSsh(sshArguments(host, sshOpts)) });
    return new Docker({ ...limits, protocol: "http", host: "docker", port: 80, ...{ agent } });
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

/** The arguments of `ssh` up to the command; what the options say first counts, as ssh has it. */
export function sshArguments(host: string, sshOpts: readonly string[] = []): string[] {
  const url = new URL(host);
  const target = url.username === "" ? url.hostname : `${decodeURIComponent(url.username)}@${url.hostname}`;
  const port = url.port === "" ? [] : ["-p", url.port];
  return [...sshOpts, "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-T", ...port, "--", target];
}

/** What a command prints on the machine of an `ssh://` URL; an error says what ssh or the command complained of. */
export function runBySsh(
  host: string,
  sshOpts: readonly string[] | undefined,
  command: readonly string[],
): Promise<string> {
  const child = spawn("ssh", [...sshArguments(host, sshOpts), ...command], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  let complaint = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (complaint = (complaint + chunk.toString()).slice(-500)));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(output);
      else
        reject(new Error(`ssh: ${complaint.trim() || `${command.join(" ")}: exit code ${code ?? "none"}`}`));
    });
  });
}

function dialSsh(target: readonly string[]): Duplex {
  const child = spawn("ssh", [...target, "docker", "system", "dial-stdio"]);
  let complaint = "";
  child.stderr.on("data", (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-500);
  });
  // A broken pipe is only how it shows here that ssh gave up: "close" tells why.
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
      child.kill();
      done(error);
    },
  });
  child.stdout.on("data", (chunk: Buffer) => {
    if (!duplex.push(chunk)) child.stdout.pause();
  });
  child.on("error", (error) => duplex.destroy(error));
  child.on("close", (code) => {
    if (code === 0 || code === null) duplex.push(null);
    else duplex.destroy(new Error(`ssh: ${complaint.trim() || `exit code ${code}`}`));
  });
  // node:http treats what an agent hands it as a socket.
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
  /** Values that aren't strings are sent as JSON, as the API's `filters` want it. */
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: object;
}

/**
 * One call of the engine's API. What only reads is asked again, for up to 30 s, while the Swarm's managers elect a leader, as
 * they do when one of them has gone or come back.
 */
export async function api<T>(docker: Docker, method: Method, path: string, send: Payload = {}): Promise<T> {
  for (const until = Date.now() + 30_000; ;) {
    try {
      return await call<T>(docker, method, path, send);
    } catch (error) {
      const electing = /DeadlineExceeded|does not have a leader/.test(messageOf(error));
      if (method !== "GET" || !electing || Date.now() > until) throw error;
      await sleep(500);
    }
  }
}

/**
 * dockerode's own methods are typed `any` for Swarm and lack some (a task's logs), so this goes through its modem; errors
 * carry Docker's own sentence.
 */
function call<T>(docker: Docker, method: Method, path: string, send: Payload): Promise<T> {
  const modem = docker.modem as Modem;
  return new Promise((resolve, reject) => {
    modem.dial(
      {
        // The modem adds the query to a path that ends in "?", and cuts a character off one that has it already.
        path: send.query === undefined ? path : `${path}?`,
        method,
        options: { _query: send.query ?? {}, _body: send.body ?? {} },
        statusCodes: { 200: true, 201: true, 204: true },
      },
      (error, data) => {
        if (error === null || error === undefined) {
          resolve(data as T);
          return;
        }
        const { statusCode, json, message } = error as DialError;
        const sentence = json?.message ?? message ?? "no answer";
        reject(Object.assign(new Error(sentence), statusCode === undefined ? {} : { statusCode }));
      },
    );
  });
}

/** The value, or undefined where the engine answers with one of these status codes. */
export async function unless<T>(statusCodes: readonly number[], call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    const { statusCode } = error as DockerError;
    if (statusCode !== undefined && statusCodes.includes(statusCode)) return undefined;
    throw error;
  }
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.trim() : String(error);
}
