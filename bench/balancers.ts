import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { balancerArguments } from "../test/e2e/balancer";
import { Container, files, versionInImage } from "./containers";
import { onPath, versionOf } from "./lib";
import { ports } from "./ports";

// The contenders that follow Consul: each configured as its documentation says, with access logs, on the traffic port.

export interface Balancer {
  readonly name: string;
  readonly version: string;
  /** Its settings other than the defaults, and the reason for them, as a clause. */
  readonly settings: string;
  start(consul: string): Promise<Container>;
}

/** The contenders available here, ours first, and the names of the programs that are not on PATH. */
export async function balancers(): Promise<{ readonly here: Balancer[]; readonly missing: string[] }> {
  const haproxy = await versionInImage("haproxy");
  const peers: readonly [string, (program: string) => Balancer][] = [
    ["consul-template", (program) => consulTemplate(program, haproxy)],
    ["fabio", fabio],
    ["traefik", traefik],
  ];
  const found = peers.map(([program, make]) => ({ program, make, file: onPath(program) }));
  return {
    here: [
      switchyard(haproxy),
      ...found.flatMap(({ make, file }) => (file === undefined ? [] : [make(file)])),
    ],
    missing: found.filter(({ file }) => file === undefined).map(({ program }) => program),
  };
}

/** Lists the versions and settings of the measured contenders, and those that are missing. */
export const footnote = (here: readonly Balancer[], missing: readonly string[]): string =>
  [
    ...here.map(({ name, version, settings }) => `- ${name}: ${version}; ${settings}.`),
    ...(missing.length > 0 ? [`- Not measured because not on PATH: ${missing.join(", ")}.`] : []),
  ].join("\n");

export interface SwitchyardOptions {
  /** The container's name. */
  readonly name?: string;
  /** The first of three ports: traffic, statistics, admin. */
  readonly port?: number;
  readonly core?: number;
  readonly args?: readonly string[];
  /** More arguments for `docker run`. */
  readonly docker?: readonly string[];
}

export function runSwitchyard(
  consul: string,
  { name = "switchyard", port = ports.traffic, args = [], docker = [], ...options }: SwitchyardOptions = {},
): Promise<Container> {
  const readme = balancerArguments(port, consul);
  return Container.run(name, [...readme.image, ...args], {
    docker: [...readme.docker, ...docker],
    ...(options.core === undefined ? {} : { core: options.core }),
  });
}

const switchyard = (haproxy: string): Balancer => ({
  name: "Switchyard",
  version: `HAProxy ${haproxy}`,
  settings:
    "defaults; checks every instance every 2 s, with 1,000 instances every 10 s, with 5,000 every 50 s",
  start: (consul) => runSwitchyard(consul),
});

/** A map of the routes and a backend per service, rendered on every change and reloaded without loss. */
const template = `global
  log stdout format raw local0
  stats socket /run/ct/stats.sock level admin expose-fd listeners
defaults
  mode http
  log global
  option httplog
  option forwardfor
  option redispatch 1
  option idle-close-on-response
  timeout connect 5s
  timeout client 50s
  timeout server 50s
frontend http
  bind 127.0.0.1:${ports.traffic}
  http-request set-var(txn.path) path,concat(/)
  http-request set-var(txn.be) var(txn.path),map_beg(/run/ct/routes.map)
  http-request return status 404 unless { var(txn.be) -m found }
  http-request set-var(txn.prefix) var(txn.path),map_beg_key(/run/ct/routes.map),length
  http-request set-path /%[path,bytes(txn.prefix)]
  use_backend %[var(txn.be)]
{{range services}}{{if .Tags | contains "rest"}}
backend {{.Name}}{{range service .Name}}
  server {{.ID}} {{.Address}}:{{.Port}} check{{end}}
{{end}}{{end}}`;

const map = `{{range services}}{{if .Tags | contains "rest"}}/{{.Name}}/ {{.Name}}
{{end}}{{end}}`;

function consulTemplate(program: string, haproxy: string): Balancer {
  return {
    name: "consul-template + HAProxy",
    version: `consul-template ${versionOf(program, "-v")}, HAProxy ${haproxy}`,
    settings:
      "no `wait`; one map, and one backend per service; HAProxy reloads over the master socket, hands its listeners over and keeps idle connections for one more answer; checks every instance every 2 s",
    start: (consul) => {
      const folder = join(files, "consul-template");
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, "haproxy.ctmpl"), template);
      writeFileSync(join(folder, "routes.ctmpl"), map);
      writeFileSync(join(folder, "start"), startHaproxyWith(consul));
      const mounts = ["-v", `${folder}:/ct:ro`, "-v", `${program}:/usr/local/bin/consul-template:ro`];
      return Container.run("consul-template", ["/ct/start"], { program: "bash", docker: mounts });
    },
  };
}

/** Reloads through the master's socket, which passes the listeners on. */
const startHaproxyWith = (consul: string): string => `set -e
mkdir -p /run/ct
printf 'defaults\\n mode http\\n timeout connect 5s\\n timeout client 50s\\n timeout server 50s\\nfrontend http\\n bind 127.0.0.1:${ports.traffic}\\n http-request return status 503\\n' >/run/ct/haproxy.cfg
cat >/run/ct/reload <<'END'
exec 3<>/dev/tcp/127.0.0.1/${ports.master}
echo reload >&3
timeout 20 head -n 1 <&3
END
haproxy -W -S 127.0.0.1:${ports.master} -f /run/ct/haproxy.cfg &
sleep 1
exec consul-template -consul-addr=${consul} -log-level=err \\
  -template=/ct/routes.ctmpl:/run/ct/routes.map \\
  '-template=/ct/haproxy.ctmpl:/run/ct/haproxy.cfg:bash /run/ct/reload'
`;

function fabio(program: string): Balancer {
  return {
    name: "fabio",
    version: `fabio ${versionOf(program, "-v")}`,
    settings:
      "blocking queries, as by default; `registry.consul.serviceMonitors=16`; relies on Consul's checks alone",
    start: (consul) =>
      Container.run(
        "fabio",
        [
          `-registry.consul.addr=${consul}`,
          "-registry.consul.register.enabled=false",
          // Its only setting for many services: how many it queries at a time.
          "-registry.consul.serviceMonitors=16",
          ...fabioListens(ports.traffic),
        ],
        { program: "/usr/local/bin/fabio", docker: ["-v", `${program}:/usr/local/bin/fabio:ro`] },
      ),
  };
}

export const fabioListens = (port: number): string[] => [
  `-proxy.addr=127.0.0.1:${port}`,
  `-ui.addr=127.0.0.1:${port + 1}`,
  "-log.access.target=stdout",
  "-log.level=ERROR",
];

export const traefikListens = (port: number): string[] => [
  `--entrypoints.web.address=127.0.0.1:${port}`,
  "--accesslog=true",
  "--log.level=ERROR",
  "--global.checknewversion=false",
  "--global.sendanonymoususage=false",
];

function traefik(program: string): Balancer {
  const catalog = "--providers.consulcatalog";
  return {
    name: "Traefik, watching, unthrottled",
    version: `Traefik ${versionOf(program, "version")}`,
    settings:
      "`watch=true`, and `providersThrottleDuration=0s` instead of the default of two seconds; relies on Consul's checks alone",
    start: (consul) =>
      Container.run(
        "traefik",
        [
          ...traefikListens(ports.traffic),
          // By default it delays changes by two seconds.
          "--providers.providersThrottleDuration=0s",
          catalog,
          `${catalog}.endpoint.address=${consul}`,
          `${catalog}.watch=true`,
          `${catalog}.exposedbydefault=false`,
        ],
        { program: "/usr/local/bin/traefik", docker: ["-v", `${program}:/usr/local/bin/traefik:ro`] },
      ),
  };
}
