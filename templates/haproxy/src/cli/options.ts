/** The options of the load balancer, from its command line and environment. */
import { isIP } from "node:net";
import { UserError } from "../../../../lib/errors";
import { bracketed } from "../../../../lib/tcp";
import {
  parseBoolean,
  parseDuration,
  parseInteger,
  parseNetwork,
  show,
  type Parsed,
} from "../../../../routing/grammar";
import { readConsulOptions, type ConsulOptions } from "../consul/options";

export interface Options {
  readonly consul: ConsulOptions;
  /** The name of this machine in Consul, with which the load balancer takes part in autoscaling. */
  readonly node?: string;
  readonly httpPort: number;
  /** In use only with certificates. */
  readonly httpsPort: number;
  /** The folder of certificates. */
  readonly certs?: string;
  /** DNS servers to ask for services' names before those of the machine. */
  readonly dns: readonly string[];
  /** The folder of certificates of authorities. */
  readonly authorities?: string;
  /** Whether HTTP redirects to HTTPS. */
  readonly redirectHttps: boolean;
  /** The other nodes of the stack, which reach internal services, as this machine and its containers do. */
  readonly nodes: readonly string[];
  /** Peers whose X-Forwarded-* and X-Request-ID headers are kept. */
  readonly trusted: readonly string[];
  /** Whether these peers speak the PROXY protocol. */
  readonly proxyProtocol: boolean;
  readonly statsPort: number;
  readonly adminAddress: string;
  readonly adminPort: number;
  readonly stateDir: string;
  /** The folder of HAProxy's sockets. */
  readonly runDir: string;
  readonly threads: number;
  readonly retentionMs: number;
  /** From 0 to 1. */
  readonly retentionShare: number;
  /** How long open requests may take when the container stops. */
  readonly stopGraceMs: number;
  readonly dry: boolean;
  readonly once: boolean;
  /** Whether the statistics page has credentials; without them there is no page. */
  readonly stats: boolean;
}

export const usage = `Usage: switchyard-haproxy [--consul=HOST:PORT] [--http-port=80] [--stats-port=1936]
  [--admin=ADDRESS:PORT] [--state-dir=DIR] [--threads=N] [--hold=60s] [--hold-share=50]
  [--stop-grace=8s] [--node=NAME] [--dry [--once]]
  [--certs=DIR [--https-port=443] [--redirect-https]] [--trust-forwarded=NETWORK,... [--proxy-protocol]]
  [--authorities=DIR] [--dns=ADDRESS:PORT,...] [--internal-from=NETWORK,...]
       switchyard-haproxy explain URL [--version=vN] [--admin=ADDRESS:PORT | --consul=HOST:PORT | --snapshot=FILE] [--json]
       switchyard-haproxy snapshot [--consul=HOST:PORT]
       switchyard-haproxy diff FILE FILE [--json]

  explain       shows which route a request takes, to which instances, and why others do not get it. --version stands
                for the header X-Version. Asks the load balancer at --admin, or Consul if there is none.
  snapshot      prints what Consul has, for --snapshot and diff. The FILE - is standard input.
  diff          shows what changes between two snapshots, and whether that takes operations at run time or a reload.
  --consul      Consul's HTTP address (CONSUL_HTTP_ADDR; 127.0.0.1:8500), with https:// for TLS. Several, separated
                by commas, are tried in turn. CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE, CONSUL_CACERT, CONSUL_CLIENT_CERT,
                CONSUL_CLIENT_KEY, CONSUL_TLS_SERVER_NAME and CONSUL_HTTP_SSL_VERIFY work as in Consul itself.
  --node        the name of this machine in Consul (NODE_NAME). With it, the load balancer tells the autoscaler about its
                requests, and holds those for a service that sleeps.
  --dry         prints the configuration and the maps at every change and starts nothing; with --once, prints once.
  --hold        how long instances whose deregistration is suspect keep their traffic while they listen.
                The signal USR2 (docker kill -s USR2 rest) releases all of them at once.
  --hold-share  percentage of the services, or of the instances, whose loss at once is suspect.
  --stop-grace  how long open requests may take when the container stops.
  --certs       a folder of NAME.pem files with certificate, chain and key; changes take effect at once.
  --redirect-https    redirects HTTP to HTTPS (308).
  --authorities       a folder of NAME.pem files with the certificates of authorities, for the option tls_ca of services.
  --dns               DNS servers to ask before the machine's own for services with a name as address, such as Consul's.
  --internal-from     who reaches internal services, beside this machine and its containers, such as 10.0.0.5,10.0.0.6.
  --trust-forwarded   peers whose X-Forwarded-* and X-Request-ID headers are kept, such as 10.0.0.0/8,192.0.2.7.
  --proxy-protocol    these peers begin each HTTP and HTTPS connection with the PROXY protocol, version 1 or 2.
  STATS_USER and STATS_PASSWORD, or STATS_PASSWORD_FILE, protect the statistics page; without both there is no page.`;

const known = [
  "consul",
  "http-port",
  "stats-port",
  "admin",
  "state-dir",
  "threads",
  "hold",
  "hold-share",
  "stop-grace",
  "node",
  "dry",
  "once",
  "https-port",
  "certs",
  "authorities",
  "dns",
  "redirect-https",
  "internal-from",
  "trust-forwarded",
  "proxy-protocol",
];

export function parseArguments(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  processors: number,
): Options {
  const given = new Map<string, string>();
  for (const argument of argv) {
    const match = /^--([a-z-]+)(?:=(.*))?$/s.exec(argument);
    if (match?.[1] === undefined || !known.includes(match[1]))
      throw new UserError(`${show(argument)} is not an option.\n${usage}`);
    given.set(match[1], match[2] ?? "true");
  }
  const take = <T>(name: string, fallback: string, parse: (value: string) => Parsed<T>): T => {
    const value = given.get(name) ?? fallback;
    const parsed = parse(value);
    if (!parsed.ok) throw new UserError(`--${name}=${show(value)} ${parsed.error}.`);
    return parsed.value;
  };
  const port = (value: string) => parseInteger(value, 1, 65_535);
  const consul = readConsulOptions(given.get("consul"), env);
  if (!consul.ok) throw new UserError(consul.error);
  const adminHost = bracketed(env["ADMIN_ADDRESS"] ?? "0.0.0.0");
  const admin = take("admin", `${adminHost}:${env["ADMIN_PORT"] ?? "8404"}`, parseHostPort);
  const redirectHttps = take("redirect-https", "false", parseBoolean);
  if (redirectHttps && !given.has("certs"))
    throw new UserError("--redirect-https needs --certs=DIR, the folder of certificates.");
  const proxyProtocol = take("proxy-protocol", "false", parseBoolean);
  if (proxyProtocol && !given.has("trust-forwarded"))
    throw new UserError("--proxy-protocol needs --trust-forwarded=NETWORK,..., the peers that speak it.");
  const dry = take("dry", "false", parseBoolean);
  const once = take("once", "false", parseBoolean);
  if (once && !dry) throw new UserError("--once says how often --dry prints: use --dry --once.");
  const stats = hasCredentials(env);
  const [httpPort, httpsPort, statsPort] = [
    take("http-port", "80", port),
    take("https-port", "443", port),
    take("stats-port", "1936", port),
  ];
  eachOnce([
    ["http-port", httpPort],
    ...(given.has("certs") ? [["https-port", httpsPort] as const] : []),
    ...(stats ? [["stats-port", statsPort] as const] : []),
    ["admin", admin.port],
  ]);
  const node = given.get("node") ?? env["NODE_NAME"] ?? "";
  const stateDir = take("state-dir", "/var/lib/switchyard", parseDirectory);
  return {
    consul: consul.value,
    ...(node === "" ? {} : { node: take("node", node, parseNode) }),
    httpPort,
    httpsPort,
    ...(given.has("certs") ? { certs: take("certs", "", parseDirectory) } : {}),
    ...(given.has("authorities") ? { authorities: take("authorities", "", parseDirectory) } : {}),
    dns: given.has("dns") ? take("dns", "", parseDnsServers) : [],
    redirectHttps,
    nodes: given.has("internal-from") ? take("internal-from", "", parseNetworks) : [],
    trusted: given.has("trust-forwarded") ? take("trust-forwarded", "", parseNetworks) : [],
    proxyProtocol,
    statsPort,
    adminAddress: admin.host,
    adminPort: admin.port,
    stateDir,
    runDir: `${stateDir}/run`,
    threads: take("threads", String(Math.max(1, Math.min(processors, 64))), (value) =>
      parseInteger(value, 1, 64),
    ),
    retentionMs: take("hold", "60s", parseDuration),
    retentionShare: take("hold-share", "50", (value) => parseInteger(value, 1, 100)) / 100,
    stopGraceMs: take("stop-grace", "8s", parseDuration),
    dry,
    once,
    stats,
  };
}

/** Two listeners on one port would share its connections at random. */
function eachOnce(ports: readonly (readonly [option: string, port: number])[]): void {
  const taken = new Map<number, string>();
  for (const [option, port] of ports) {
    const other = taken.get(port);
    if (other !== undefined)
      throw new UserError(
        `--${option} has port ${port}, and so has --${other}: choose another for one of them.`,
      );
    taken.set(port, option);
  }
}

function hasCredentials(env: Readonly<Record<string, string | undefined>>): boolean {
  const user = env["STATS_USER"] ?? "";
  const password = env["STATS_PASSWORD"] ?? "";
  if (user === "" && password === "") return false;
  if (user === "" || password === "")
    throw new UserError("Set both STATS_USER and STATS_PASSWORD for the statistics page, or neither.");
  if (user.includes(":")) throw new UserError("STATS_USER must not contain a colon.");
  return true;
}

function parseHostPort(value: string): Parsed<{ host: string; port: number }> {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9_.-]+)):(\d{1,5})$/.exec(value);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host !== undefined && port >= 1 && port <= 65_535
    ? { ok: true, value: { host, port } }
    : { ok: false, error: "is not ADDRESS:PORT, as in 127.0.0.1:8404" };
}

/** The name becomes part of a key in Consul's KV. */
function parseNode(value: string): Parsed<string> {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/.test(value)
    ? { ok: true, value }
    : { ok: false, error: "is not the name of a node: use letters, digits, '.', '_' and '-'" };
}

/** The path goes into HAProxy's configuration, and with a socket's name into an address of at most about 100 bytes. */
function parseDirectory(value: string): Parsed<string> {
  return /^(?:\/[A-Za-z0-9_.-]+){1,}$/.test(value) && value.length <= 64
    ? { ok: true, value }
    : { ok: false, error: "is not an absolute path of at most 64 letters, digits, '.', '_', '-' and '/'" };
}

/** IP addresses separated by commas, each with or without a port, as Node.js takes them. */
function parseDnsServers(value: string): Parsed<string[]> {
  const servers = value.split(",");
  const isServer = (server: string) => {
    const [, ipv6, ipv4, port] = /^(?:\[([^\]]+)\]|([0-9.]+))(?::(\d{1,5}))?$/.exec(server) ?? [];
    const address = ipv6 ?? ipv4 ?? "";
    return (
      isIP(address) === (ipv6 === undefined ? 4 : 6) &&
      (port === undefined || parseInteger(port, 1, 65_535).ok)
    );
  };
  return servers.every(isServer)
    ? { ok: true, value: servers }
    : { ok: false, error: "is not a list of DNS servers, as in 172.17.0.1:53,[2001:db8::1]" };
}

/** Addresses and networks separated by commas. */
function parseNetworks(value: string): Parsed<string[]> {
  const networks = value.split(",");
  return networks.every((network) => parseNetwork(network).ok)
    ? { ok: true, value: networks }
    : { ok: false, error: "is not a list of addresses and networks, as in 10.0.0.0/8,192.0.2.7" };
}
