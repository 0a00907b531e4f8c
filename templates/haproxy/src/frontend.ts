/** The frontend that all HTTP traffic comes through. */
import { frontendGuid } from "./counters";
import type { RenderOptions } from "./render";
import { binds, lines } from "./text";

/** HAProxy's list of certificates. */
export const certificateList = (dir: string): string => `${dir}/certificates.list`;

const notFound = (error: string) =>
  `http-request return status 404 content-type application/json string '${JSON.stringify({ status: 404, error })}' hdr Cache-Control no-store`;

const noVersion = notFound("This version of the service does not exist.");

export function httpFrontend(options: RenderOptions): string {
  const map = (name: string, method: string) => `${method}(${options.dir}/${name})`;
  const { https, trusted = [] } = options;
  return lines("frontend http from http:common", [
    `guid ${frontendGuid("http")}`,
    ...binds(options.httpPort, options),
    ...(https === undefined ? [] : binds(https.port, options, tls(options.dir))),
    // Here they hold for backends as well. In their own sections, HAProxy 3.4.0 would crash when it makes a backend.
    "errorfiles json",
    "unique-id-format %[uuid()]",
    ...(trusted.length === 0 ? ["unique-id-header X-Request-ID"] : []),
    `log-format "%ci:%cp [%tr] %ft %[var(txn.service)]/%si:%sp %TR/%Tw/%Tc/%Tr/%Ta %ST %B %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq ${trusted.length === 0 ? "%ID" : "%[var(txn.id)]"} %{+Q}r"`,
    ...(trusted.length === 0 ? untrustedHeaders(https) : trustedHeaders(trusted, https)),
    ...(https?.redirect === true ? redirect(https.port) : []),
    // One look-up in a tree finds the longest prefix that ends at a segment, among any number of routes.
    "http-request set-var(txn.host) req.hdr(host),field(1,:),lower",
    "http-request set-var(txn.path) path,concat(/)",
    `http-request set-var(txn.route) var(txn.host),concat(,txn.path),${map("routes.map", "map_beg")}`,
    "http-request set-var(txn.host) str(*) unless { var(txn.route) -m found }",
    `http-request set-var(txn.route) var(txn.host),concat(,txn.path),${map("routes.map", "map_beg")} unless { var(txn.route) -m found }`,
    `${notFound("No service has this path.")} unless { var(txn.route) -m found }`,
    "http-request set-var(txn.be) var(txn.route),field(1,|)",
    "http-request set-var(txn.prefix) var(txn.route),field(2,|)",
    "http-request set-var(txn.length) var(txn.route),field(4,|)",
    "http-request set-var(txn.service) var(txn.route),field(5,|)",
    // A version that is not there must not be answered by another one.
    `${noVersion} if { var(txn.route),field(3,|) -m str v } { path,bytes(txn.length) -m reg ^/v[0-9]+(/|$) }`,
    ...namedVersion(map("routes.map", "map_beg")),
    // Versions that share requests: a slot from 0 to 99 leads to one of them.
    "http-request set-var(txn.slot) rand(100) if { var(txn.be) -m beg % }",
    `http-request set-var(txn.split) var(txn.be),concat(/,txn.slot),${map("splits.map", "map_str")} if { var(txn.be) -m beg % }`,
    "http-request set-var(txn.be) var(txn.split),field(1,|) if { var(txn.split) -m found }",
    "http-request set-var(txn.service) var(txn.split),field(2,|) if { var(txn.split) -m found }",
    "http-request set-var(txn.from) var(txn.prefix),add(1)",
    `http-request set-header X-Forwarded-Prefix ${trusted.length === 0 ? "" : "%[req.hdr(x-forwarded-prefix)]"}%[path,bytes(0,txn.prefix)] if { var(txn.prefix) -m int gt 0 }`,
    "http-request set-path /%[path,bytes(txn.from)]",
    // Only a request that may be repeated is sent again after an instance has seen it.
    "http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE TRACE }",
    "use_backend %[var(txn.be)]",
  ]);
}

const tls = (dir: string): string =>
  ` ssl crt-list ${certificateList(dir)} ssl-min-ver TLSv1.2 alpn h2,http/1.1`;

type Https = RenderOptions["https"];

const protocol = (https: Https): string => (https === undefined ? "http" : "%[ssl_fc,iif(https,http)]");

const badHost = "http-request deny deny_status 400 if { req.hdr(host) -m sub / * }";

/** What only the load balancer can know is never taken from outside. */
const untrustedHeaders = (https: Https): string[] => [
  "http-request del-header X-Forwarded- -m beg",
  "http-request del-header X-Request-ID",
  "http-request del-header X-Real-IP",
  "http-request del-header Forwarded",
  badHost,
  "http-request set-header X-Forwarded-For %[src]",
  `http-request set-header X-Forwarded-Proto ${protocol(https)}`,
  "http-request set-header X-Forwarded-Host %[req.hdr(host)] if { req.hdr(host) -m found }",
];

/** Peers that are load balancers themselves have said who the client is; their word is kept and ours added. */
const trustedHeaders = (trusted: readonly string[], https: Https): string[] => [
  ...trusted.map((network) => `acl trusted src ${network}`),
  "http-request del-header X-Forwarded- -m beg unless trusted",
  // A request id is repeated in the log, so it has to look like one.
  "http-request del-header X-Request-ID unless trusted { req.hdr(x-request-id) -m reg ^[A-Za-z0-9._-]{1,128}$ }",
  "http-request del-header X-Real-IP",
  "http-request del-header Forwarded",
  badHost,
  "http-request set-header X-Request-ID %[unique-id] unless { req.hdr(x-request-id) -m found }",
  "http-request set-var(txn.id) req.hdr(x-request-id)",
  "http-request add-header X-Forwarded-For %[src]",
  `http-request set-header X-Forwarded-Proto ${protocol(https)} unless { req.hdr(x-forwarded-proto) -m found }`,
  "http-request set-header X-Forwarded-Host %[req.hdr(host)] if { req.hdr(host) -m found } !{ req.hdr(x-forwarded-host) -m found }",
];

/** 308 keeps method and body. What has come by HTTPS to a trusted peer is not sent round in a circle. */
const redirect = (port: number): string[] => [
  "http-request set-var(txn.name) 'req.hdr(host),regsub(:[0-9]+$,)'",
  `http-request redirect code 308 location https://%[var(txn.name)]${port === 443 ? "" : `:${port}`}%[pathq] if { var(txn.name) -m len gt 0 } !{ req.hdr(x-forwarded-proto) -i https }`,
];

/**
 * `X-Version: v1` chooses among the versions of a service. The key of that version's own route is put together from the
 * route that has been found, so it costs one more look-up. What is found is the route itself where there is no such one.
 */
const namedVersion = (lookUp: string): string[] => {
  const named = "{ var(txn.version) -m found }";
  return [
    "http-request set-var(txn.version) req.hdr(x-version) if { req.hdr(x-version) -m found } { var(txn.route),field(3,|) -m str v }",
    `${noVersion} if ${named} !{ var(txn.version) -m reg ^v[0-9]{1,9}$ }`,
    `http-request set-var(txn.own) path,bytes(0,txn.length),concat(/,txn.version,/) if ${named}`,
    `http-request set-var(txn.route) var(txn.host),concat(,txn.own),${lookUp} if ${named}`,
    `${noVersion} if ${named} { var(txn.route),field(3,|) -m str v }`,
    `http-request set-var(txn.be) var(txn.route),field(1,|) if ${named}`,
    `http-request set-var(txn.service) var(txn.route),field(5,|) if ${named}`,
  ];
};
