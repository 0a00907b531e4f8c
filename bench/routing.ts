/**
 * The same routes as hand-written configuration: `/r<n>` goes to the only instance of service `r<n>`, with the prefix
 * stripped. Written the way an expert in each program would.
 */
import type { Registration } from "./registry";

export const routeMap = (routes: readonly Registration[]): string =>
  routes.map(({ name }) => `/${name}/ ${name}\n`).join("");

const backends = (routes: readonly Registration[], rules: (name: string) => string = () => ""): string =>
  routes
    .map(
      ({ name, address, port }) =>
        `backend ${name}\n${rules(name)}  server ${name} ${address}:${port} check\n`,
    )
    .join("");

const common = `global
  log stdout format raw local0
  nbthread 1
  maxconn 4096
defaults
  mode http
  log global
  option httplog
  option forwardfor
  timeout connect 5s
  timeout client 50s
  timeout server 50s
`;

/** HAProxy with a map for the many routes, and the headers and request ID that services expect. */
export const byMap = (routes: readonly Registration[], port: number): string => `${common}
frontend http
  bind 127.0.0.1:${port}
  unique-id-format %[uuid()]
  unique-id-header X-Request-ID
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-var(txn.path) path,concat(/)
  http-request set-var(txn.be) var(txn.path),map_beg(/files/routes.map)
  http-request return status 404 unless { var(txn.be) -m found }
  http-request set-var(txn.length) var(txn.path),map_beg_key(/files/routes.map),length
  http-request set-path /%[path,bytes(txn.length)]
  use_backend %[var(txn.be)]
${backends(routes)}`;

/** HAProxy 2.1 removed `reqrep`. */
const stripAsIn2015 = (name: string): string => `  http-request replace-path /${name}/?(.*) /\\1\n`;

/** The output of the 2015 templates: one ACL per service, tried in order, and a regular expression to strip the prefix. */
export const byAcls = (routes: readonly Registration[], port: number): string => `${common}
frontend http
  bind 127.0.0.1:${port}
${routes.map(({ name }) => `  acl ${name} path_beg /${name}\n`).join("")}${routes
  .map(({ name }) => `  use_backend ${name} if ${name}\n`)
  .join("")}${backends(routes, stripAsIn2015)}`;

/** Properties with all routes in one line; thousands of them would not fit on a command line. */
export const forFabio = (routes: readonly Registration[]): string =>
  `registry.backend = static\nregistry.static.routes = ${routes
    .map(
      ({ name, address, port }) =>
        `route add ${name} /${name} http://${address}:${port}/ opts "strip=/${name}"`,
    )
    .join("\\n")}\n`;

/** For Traefik's file provider, which reads YAML and therefore JSON. */
export function forTraefik(routes: readonly Registration[]): string {
  const entries = <T>(make: (route: Registration) => T) =>
    Object.fromEntries(routes.map((route) => [route.name, make(route)]));
  return JSON.stringify({
    http: {
      routers: entries(({ name }) => ({
        rule: `PathPrefix(\`/${name}\`)`,
        service: name,
        middlewares: [name],
      })),
      middlewares: entries(({ name }) => ({ stripPrefix: { prefixes: [`/${name}`] } })),
      services: entries(({ address, port }) => ({
        loadBalancer: { servers: [{ url: `http://${address}:${port}` }] },
      })),
    },
  });
}
