/** The command line. */
import { parseArgs } from "node:util";
import { messageOf, UserError } from "../../../lib/errors";
import { parseInteger, show } from "../../../routing/grammar";

export interface Options {
  /** The node's name in Consul and in Docker. */
  readonly node: string;
  readonly consul: { readonly host: string; readonly port: number };
  readonly tokenFile?: string;
  readonly token?: string;
  /** The socket on which to read containers; undefined if processor use is not measured. */
  readonly dockerSocket?: string;
  /** The narrow socket, with which services are scaled; undefined on nodes that are no managers. */
  readonly swarmSocket?: string;
  /** The narrow socket on other nodes, with which only limits are changed. */
  readonly limitsSocket?: string;
  /** Whether only to say what would be done. */
  readonly dry: boolean;
  /** Whether only to start jobs: nothing is measured, recommended or scaled. */
  readonly jobsOnly: boolean;
  readonly admin: { readonly host: string; readonly port: number };
}

/** The command `docker`, which keeps the narrow socket. */
export interface SocketOptions {
  readonly listen: string;
  readonly engine: string;
}

export const usage = `Usage: autoscaler --node=NAME [--consul=127.0.0.1:8500] [--swarm=PATH | --limits=PATH] [--dry]
                  [--jobs-only] [--admin=127.0.0.1:8405]
       autoscaler docker --listen=PATH [--engine=/var/run/docker.sock]

  --swarm      socket of "autoscaler docker": set it on managers
  --limits     the same on other nodes, if limits of memory and processor are to be changed
  --jobs-only  starts the runs of jobs, and scales nothing
  DOCKER_HOST  socket to read containers from, as in unix:///run/docker-socket-proxy/docker.sock
  CONSUL_HTTP_TOKEN_FILE, CONSUL_HTTP_TOKEN`;

type Environment = Readonly<Record<string, string | undefined>>;
type Flags = Readonly<Record<string, { readonly type: "string" | "boolean" }>>;

const text = { type: "string" } as const;

/** @throws UserError that names the option */
export function parseOptions(args: readonly string[], env: Environment): Options {
  const given = parse(args, {
    node: text,
    consul: text,
    swarm: text,
    limits: text,
    dry: { type: "boolean" },
    "jobs-only": { type: "boolean" },
    admin: text,
  });
  const node = asText(given["node"]) ?? env["NODE_NAME"] ?? "";
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(node))
    throw new UserError(
      node === "" ? `--node is missing.\n${usage}` : `--node: ${show(node)} is not the name of a node.`,
    );
  const host = env["DOCKER_HOST"] ?? "";
  if (host !== "" && !host.startsWith("unix:///"))
    throw new UserError(`DOCKER_HOST: ${show(host)} is not a unix:// socket.`);
  const [tokenFile, token] = [env["CONSUL_HTTP_TOKEN_FILE"] ?? "", env["CONSUL_HTTP_TOKEN"] ?? ""];
  const [swarm, limits] = [asText(given["swarm"]), asText(given["limits"])];
  return {
    node,
    consul: address("--consul", asText(given["consul"]) ?? env["CONSUL_HTTP_ADDR"] ?? "127.0.0.1:8500"),
    ...(tokenFile !== "" && { tokenFile }),
    ...(token !== "" && { token }),
    ...(host !== "" && { dockerSocket: host.slice("unix://".length) }),
    ...(swarm !== undefined && { swarmSocket: path("--swarm", swarm) }),
    ...(limits !== undefined && { limitsSocket: path("--limits", limits) }),
    dry: given["dry"] === true,
    jobsOnly: given["jobs-only"] === true,
    admin: address("--admin", asText(given["admin"]) ?? "127.0.0.1:8405"),
  };
}

/** @throws UserError that names the option */
export function parseSocketOptions(args: readonly string[]): SocketOptions {
  const given = parse(args, { listen: text, engine: text });
  const listen = asText(given["listen"]);
  if (listen === undefined) throw new UserError(`--listen is missing.\n${usage}`);
  return {
    listen: path("--listen", listen),
    engine: path("--engine", asText(given["engine"]) ?? "/var/run/docker.sock"),
  };
}

function parse(args: readonly string[], options: Flags): Readonly<Record<string, unknown>> {
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    throw new UserError(`${messageOf(error)}\n${usage}`);
  }
}

const asText = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

function path(option: string, value: string): string {
  if (!value.startsWith("/")) throw new UserError(`${option}: ${show(value)} is not an absolute path.`);
  return value;
}

function address(option: string, value: string): { host: string; port: number } {
  const [, host = "", digits = ""] = /^([A-Za-z0-9_.-]+):([0-9]+)$/.exec(value) ?? [];
  const port = parseInteger(digits, 1, 65_535);
  if (!port.ok) throw new UserError(`${option}: ${show(value)} is not HOST:PORT, as in 127.0.0.1:8500.`);
  return { host, port: port.value };
}
