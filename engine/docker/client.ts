/** A client for each Docker host that the program's providers name. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { Duplex } from "node:stream";
import Docker from "dockerode";
import { messageOf, UserError } from "../errors";
import { hasUnknown, type WireMap } from "../wire";
import { text, texts } from "./values";

export const PROVIDER_INPUTS = [
  "host", "sshOpts", "certPath", "caMaterial", "certMaterial", "keyMaterial", "disableDockerDaemonCheck",
]; // prettier-ignore
const DEFAULT_HOST = "unix:///var/run/docker.sock";

export class Unreachable extends UserError {}

export interface Host {
  readonly docker: Docker;
  readonly name: string;
}

/** A connection to the engine through `docker system dial-stdio` on the other machine. */
function dial(command: readonly string[], machine: string): Duplex {
  const child = spawn("ssh", command, { stdio: ["pipe", "pipe", "pipe"] });
  let complaint = "";
  child.stderr.on("data", (data: Buffer) => {
    complaint = (complaint + data.toString()).slice(-500);
  });
  child.stdin.on("error", () => undefined); // told better by what ssh says when it ends
  const connection = new Duplex({
    read: () => child.stdout.resume(),
    write: (chunk: Buffer, _encoding, done) => {
      child.stdin.write(chunk, () => {
        done();
      });
    },
    final: (done) => child.stdin.end(done),
    destroy: (error, done) => {
      child.kill();
      done(error);
    },
  });
  child.stdout.on("data", (data: Buffer) => {
    if (!connection.push(data)) child.stdout.pause();
  });
  child.on("error", (error) => connection.destroy(error));
  child.on("close", (code) => {
    if (code)
      connection.destroy(new Error(`ssh to ${machine}: ${complaint.trim() || `exit ${String(code)}`}`));
    else connection.push(null);
  });
  // What http expects of a socket and a pipe does not have.
  const none = (): Duplex => connection;
  return Object.assign(connection, {
    setTimeout: none,
    setKeepAlive: none,
    setNoDelay: none,
    ref: none,
    unref: none,
  });
}

/** Through the user's own ssh, as Docker's CLI does it: their keys, known hosts and ~/.ssh/config apply. */
function sshAgent(url: URL, options: readonly string[]): http.Agent {
  // sshd drops connections beyond its MaxStartups, so few are made and kept.
  const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
  const target = [...(url.username ? ["-l", url.username] : []), ...(url.port ? ["-p", url.port] : [])];
  const command = [
    "-o",
    "BatchMode=yes",
    ...options,
    ...target,
    "--",
    url.hostname,
    "docker",
    "system",
    "dial-stdio",
  ];
  return Object.assign(agent, { createConnection: () => dial(command, url.hostname) });
}

function tls(inputs: WireMap): { ca: string; cert: string; key: string } | undefined {
  const folder =
    text(inputs.certPath) ?? (process.env.DOCKER_TLS_VERIFY ? process.env.DOCKER_CERT_PATH : undefined);
  const material = [inputs.caMaterial, inputs.certMaterial, inputs.keyMaterial].map(text);
  const files = ["ca.pem", "cert.pem", "key.pem"];
  if (!folder && material.every((m) => m === undefined)) return undefined;
  const [ca = "", cert = "", key = ""] = material.map(
    (m, i) => m ?? readFileSync(path.join(folder ?? "", files[i] ?? ""), "utf8"),
  );
  return { ca, cert, key };
}

/** Docker's client fills what is not given from DOCKER_HOST and its kin, which here are one provider's host at most. */
function client(options: Docker.DockerOptions): Docker {
  const nothing = { host: "", port: "", ca: undefined, cert: undefined, key: undefined, pathPrefix: "/" };
  return new Docker({ ...nothing, ...options });
}

export function connect(inputs: WireMap): Host {
  const unknown = Object.keys(inputs).find((key) => !PROVIDER_INPUTS.includes(key) && key !== "version");
  if (unknown !== undefined) {
    throw new UserError(
      `The docker provider's \`${unknown}\` is not supported by the embedded engine: remove it.`,
    );
  }
  const name = text(inputs.host) ?? process.env.DOCKER_HOST ?? DEFAULT_HOST;
  let url: URL;
  try {
    url = new URL(name);
  } catch {
    throw new UserError(
      `The Docker host "${name}" is not a URL: write unix:///path, tcp://host:port or ssh://user@host.`,
    );
  }
  const port = url.port === "" ? undefined : Number(url.port);
  switch (url.protocol) {
    case "unix:":
      return { name, docker: client({ socketPath: url.pathname, protocol: "http" }) };
    case "tcp:":
    case "http:":
    case "https:": {
      const material = tls(inputs);
      const secure = material !== undefined || url.protocol === "https:";
      return {
        name,
        docker: client({
          host: url.hostname,
          port: port ?? (secure ? 2376 : 2375),
          protocol: secure ? "https" : "http",
          ...material,
        }),
      };
    }
    case "ssh:": {
      const given = inputs.sshOpts;
      const options = typeof given === "string" ? (JSON.parse(given) as string[]) : texts(given);
      const agent = sshAgent(url, options);
      const settings = { protocol: "http" as const, host: "docker.example.com", port: 80, agent };
      return { name, docker: client(settings) };
    }
    default:
      throw new UserError(
        `The Docker host "${name}": ${url.protocol}// is not supported; use unix, tcp or ssh.`,
      );
  }
}

/** Clients by the inputs of their provider; each host is asked once whether it answers. */
export class Hosts {
  private readonly known = new Map<string, Promise<Host>>();

  /** Undefined while the host itself is still unknown. */
  get(inputs: WireMap): Promise<Host> | undefined {
    if (hasUnknown(inputs)) return undefined;
    const key = JSON.stringify(inputs);
    let host = this.known.get(key);
    if (!host) {
      host = this.reach(inputs);
      this.known.set(key, host);
    }
    return host;
  }

  private async reach(inputs: WireMap): Promise<Host> {
    const host = connect(inputs);
    try {
      await host.docker.ping();
    } catch (error) {
      throw new Unreachable(
        `No Docker Engine answers at ${host.name} (${messageOf(error)}): start it, or correct the provider's host or DOCKER_HOST.`,
      );
    }
    return host;
  }
}
