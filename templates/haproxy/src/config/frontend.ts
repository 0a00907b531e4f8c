/** The frontend for all HTTP traffic. */
import { frontendGuid } from "./counters";
import { mostWildcardLabels, readyPath } from "../../../../routing/grammar";
import type { Settings } from "../../../../routing/settings";
import { slotCookie } from "../../../../routing/options/sticky";
import { nowhere } from "./backend-profiles";
import { certificateList } from "./certificates";
import { hasFlag } from "./flags";
import { binds, lines, requestLog } from "./syntax";
import type { RenderOptions } from "./types";

const json = (status: number, body: object) =>
  `http-request return status ${status} content-type application/json string '${JSON.stringify(body)}' hdr Cache-Control no-store`;

const answer = (status: number, error: string) => json(status, { status, error });

/** HAProxy answers by itself, so that a renderer that has failed takes nobody's traffic away. */
function readiness(dir: string): string[] {
  const asked = `{ path ${readyPath} }`;
  return [
    `http-request set-log-level silent if ${asked}`,
    `${json(200, { ready: true })} if ${asked} ${hasFlag("ready", dir)}`,
    `${json(503, { ready: false, why: "not synchronised with Consul yet" })} if ${asked}`,
  ];
}

const noVersion = answer(404, "This version of the service does not exist.");

/** A request that loops back to the load balancer would use up all connections (RFC 8586). */
const mostHops = 8;

/** The service that answers, for the log. `txn.route` is an entry of the routes map. */
const service = "%[var(txn.route),field(5,|)]";

/** `wildcards` is whether any route has a host such as `*.example.com`; the rules for them cost every request. */
export function httpFrontend(settings: Settings, options: RenderOptions, wildcards: boolean): string {
  const { https, trusted = [] } = options;
  return lines("frontend http from http:common", [
    `guid ${frontendGuid("http")}`,
    requestLog,
    ...binds(options.httpPort, options),
    ...(https === undefined ? [] : binds(https.port, options, tls(options.dir))),
    ...trusted.map((network) => `acl trusted src ${network}`),
    // From here on, the source is the client that a trusted peer names.
    ...(options.proxyProtocol === true ? ["tcp-request connection expect-proxy layer4 if trusted"] : []),
    // In the frontend, they apply to its backends too.
    "errorfiles json",
    "unique-id-format %[uuid()]",
    ...(trusted.length === 0 ? ["unique-id-header X-Request-ID"] : []),
    `log-format "%ci:%cp [%tr] %ft ${service}/%si:%sp %TR/%Tw/%Tc/%Tr/%Ta %ST %B %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq ${trusted.length === 0 ? "%ID" : "%[var(txn.id)]"} %{+Q}r"`,
    ...headerLimits(settings),
    // Before any redirect.
    ...readiness(options.dir),
    ...(trusted.length === 0 ? untrustedHeaders(https) : trustedHeaders(https)),
    ...(https?.redirect === true ? redirect(https.port) : []),
    `${answer(508, "This request came back to the load balancer too often.")} if { req.hdr_cnt(cdn-loop) ge ${mostHops} }`,
    "http-request add-header CDN-Loop switchyard",
    ...responseHeaders,
    // A single lookup in a tree finds the longest prefix that ends at a segment, among any number of routes.
    // Without path parameters (RFC 3986, 3.3): `/a;x=1` is about the same resource as `/a`.
    "http-request set-var(txn.path) path,concat(/)",
    "http-request set-var(txn.path) path,regsub(;[^/]*,,g),concat(/) if { path -m sub ; }",
    ...findRoute(options.dir, wildcards),
    `${answer(404, "No service has this path.")} unless { var(txn.route) -m found }`,
    // After an instance has seen a request, HAProxy may send only an idempotent one again.
    "http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE TRACE }",
    "http-request allow unless { var(txn.route) -m beg v }",
    ...versions(options.dir),
    "use_backend %[var(txn.route),field(4,|)]",
  ]);
}

/** The limits are checked here, rather than by HAProxy alone, for an answer that says what is wrong. */
const headerLimits = ({ headerBytes, headerFields }: Settings): string[] => [
  `${answer(431, `This request has more than ${headerFields} header fields.`)} if { req.fhdr_cnt gt ${headerFields} }`,
  `${answer(431, `The headers of this request are larger than ${headerBytes} bytes.`)} if { req.hdrs,length gt ${headerBytes} }`,
];

/** Sets the route: that of the host, else of the longest wildcard that covers the host, else of any host. */
function findRoute(dir: string, wildcards: boolean): string[] {
  const host = "req.hdr(host),field(1,:),rtrim(.),lower";
  const missing = "!{ var(txn.route) -m found }";
  const covered = "{ var(txn.parent) -m found }";
  const find = (hostPart: string) =>
    `http-request set-var(txn.route) ${hostPart},concat(,txn.path),map_beg(${dir}/routes.map)`;
  const labels = Array.from({ length: mostWildcardLabels }, (_, index) => mostWildcardLabels - index);
  const byWildcard = [
    // A wildcard stands for at least one label.
    `http-request set-var(txn.parent) ${host},field(2,.,0) if ${missing}`,
    ...labels.flatMap((count) => [
      `http-request set-var(txn.domain) var(txn.parent),field(-1,.,${count}) if ${covered} ${missing}`,
      `${find("str(*.),concat(,txn.domain)")} if ${covered} ${missing}`,
    ]),
  ];
  return [find(host), ...(wildcards ? byWildcard : []), `${find("str(*)")} if ${missing}`];
}

/** The rules for routes that versions share. Afterwards, `txn.route` is the route of one version. */
function versions(dir: string): string[] {
  const named = "{ var(txn.version) -m found }";
  const shared = "{ var(txn.route),field(4,|) -m beg % }";
  return [
    "http-request set-var(txn.family) var(txn.route),field(3,|)",
    "http-request set-var(txn.length) var(txn.family),length",
    // No version answers for a missing one, however the request writes it.
    `${noVersion} if { var(txn.path),bytes(txn.length),url_dec -m reg ^/v[0-9]+[/;] }`,
    // `X-Version: v1` chooses a version. The key of its own route is the key of the shared one plus the version.
    "http-request set-var(txn.version) req.hdr(x-version)",
    `${noVersion} if ${named} !{ var(txn.version) -m reg ^v[0-9]{1,9}$ }`,
    `http-request set-var(txn.key) var(txn.route),field(1,|),bytes(1),concat(,txn.family,/) if ${named}`,
    `http-request set-var(txn.own) var(txn.key),concat(,txn.version,/),map_beg(${dir}/routes.map) if ${named}`,
    // A missing version finds the shared route again.
    `${noVersion} if ${named} { var(txn.own) -m beg v }`,
    // The prefix is the one in the request; the chosen version decides whether to strip it.
    `http-request set-var(txn.stripped) var(txn.length) if ${named}`,
    `http-request set-var(txn.stripped) int(0) if ${named} { var(txn.own),field(2,|) 0 }`,
    `http-request set-var(txn.rest) var(txn.own),field(4,|,0) if ${named}`,
    `http-request set-var(txn.route) str(-|),concat(,txn.stripped,|),concat(,txn.family,|),concat(,txn.rest) if ${named}`,
    `${noVersion} if { var(txn.route),field(4,|) -m str ${nowhere} }`,
    // Versions that share requests: a number from 0 to 99 leads to one of them. Clients of a sticky service keep theirs.
    `http-request set-var(txn.slot) req.cook(${slotCookie}) if ${shared} { req.cook(${slotCookie}) -m reg ^(0|[1-9][0-9]?)$ }`,
    `http-request set-var(txn.drawn) rand(100) if ${shared} !{ var(txn.slot) -m found }`,
    "http-request set-var(txn.slot) var(txn.drawn) if { var(txn.drawn) -m found }",
    `http-request set-var(txn.route) var(txn.route),field(4,|),concat(/,txn.slot),map_str(${dir}/splits.map) if { var(txn.slot) -m found }`,
  ];
}

const tls = (dir: string): string =>
  ` ssl crt-list ${certificateList(dir)} ssl-min-ver TLSv1.2 alpn h2,http/1.1`;

type Https = RenderOptions["https"];

const protocol = (https: Https): string => (https === undefined ? "http" : "%[ssl_fc,iif(https,http)]");

/**
 * A Host header with a pattern or a path, or longer than any name with a port (RFC 1035, 2.3.4): headers derived from it must
 * fit the request's buffer.
 */
const badHost =
  "http-request deny deny_status 400 if { req.hdr(host) -m sub / * } || { req.hdr(host) -m len gt 260 }";

/** Removes headers by a pattern. HAProxy holds header names in lower case. */
const remove = (headers: string): string => `http-request del-header ^(${headers}) -m reg`;

/** Hop-by-hop headers (RFC 9110, 7.6.1), and `Proxy`, which CGI takes for its own setting (CVE-2016-5385). */
const unforwarded = "keep-alive$|http2-settings$|proxy(-connection)?$";
/** Headers that only the load balancer may set. CGI and its successors read any separator as `-`, so all separators match. */
const forwarded = `x[^a-z0-9](forwarded([^a-z0-9]|$)|real[^a-z0-9]ip$|request[^a-z0-9]id$)|forwarded$|${unforwarded}`;
/** Those that not even trusted peers may set: X-Forwarded-* and X-Request-ID in other spellings, and all others. */
const unsupported = `x([^a-z0-9-]forwarded([^a-z0-9]|$)|-forwarded([^a-z0-9-]|$)|[^a-z0-9]real[^a-z0-9]ip$|[^a-z0-9-]request[^a-z0-9]id$|-request[^a-z0-9-]id$)|forwarded$|${unforwarded}`;

/**
 * By naming our headers in `Connection`, a client could make the next proxy drop them. An `Upgrade` counts only if
 * `Connection` names it (RFC 9110, 7.8).
 */
const hopByHop = [
  "http-request del-header Upgrade unless { req.hdr(connection) -i -m str upgrade }",
  "http-request del-header Connection unless { req.hdr(upgrade) -m found }",
  "http-request set-header Connection upgrade if { req.hdr(upgrade) -m found }",
];

/**
 * What an instance says about its connection to us is not about the client's. An upgrade that it makes or demands is for the
 * client.
 */
const responseHeaders = [
  "http-response del-header Keep-Alive",
  "http-response del-header Proxy-Connection",
  "http-response allow if { status 101 426 }",
  "http-response del-header Connection",
  "http-response del-header Upgrade",
];

/** Without trusted peers, every forwarding header from outside is replaced. */
const untrustedHeaders = (https: Https): string[] => [
  remove(forwarded),
  ...hopByHop,
  badHost,
  "http-request add-header X-Forwarded-For %[src]",
  `http-request add-header X-Forwarded-Proto ${protocol(https)}`,
  "http-request add-header X-Forwarded-Host %[req.hdr(host)] if { req.hdr(host) -m found }",
];

/** Trusted peers are load balancers that already know the client: their headers are kept and ours added. */
const trustedHeaders = (https: Https): string[] => [
  `${remove(forwarded)} unless trusted`,
  remove(unsupported),
  // The log repeats the request id, so there must be exactly one, and it must look like an id.
  "http-request del-header X-Request-ID unless { req.fhdr(x-request-id) -m reg ^[A-Za-z0-9._-]{1,128}$ } { req.fhdr_cnt(x-request-id) eq 1 }",
  ...hopByHop,
  badHost,
  "http-request set-header X-Request-ID %[unique-id] unless { req.hdr(x-request-id) -m found }",
  "http-request set-var(txn.id) req.hdr(x-request-id)",
  "http-request add-header X-Forwarded-For %[src]",
  `http-request set-header X-Forwarded-Proto ${protocol(https)} unless { req.hdr(x-forwarded-proto) -m found }`,
  "http-request set-header X-Forwarded-Host %[req.hdr(host)] if { req.hdr(host) -m found } !{ req.hdr(x-forwarded-host) -m found }",
];

/**
 * Redirects to HTTPS. 308 keeps method and body. A request that reached a trusted peer by HTTPS is not redirected, which would
 * loop; a request without a host has no place to be redirected to.
 */
const redirect = (port: number): string[] => [
  "http-request set-var(txn.name) 'req.hdr(host),regsub(:[0-9]+$,)'",
  "http-request deny deny_status 400 if !{ var(txn.name) -m len gt 0 } !{ req.hdr(x-forwarded-proto) -i https }",
  `http-request redirect code 308 location https://%[var(txn.name)]${port === 443 ? "" : `:${port}`}%[pathq] unless { req.hdr(x-forwarded-proto) -i https }`,
];
