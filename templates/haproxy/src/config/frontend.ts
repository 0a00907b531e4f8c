/** The frontend that all HTTP traffic comes through. */
import { frontendGuid } from "./counters";
import { slotCookie } from "../../../../routing/options/sticky";
import { nowhere } from "./backend-profiles";
import { binds, lines } from "./syntax";
import type { RenderOptions } from "./types";

/** HAProxy's list of certificates. */
export const certificateList = (dir: string): string => `${dir}/certificates.list`;

const answer = (status: number, error: string) =>
  `http-request return status ${status} content-type application/json string '${JSON.stringify({ status, error })}' hdr Cache-Control no-store`;

const noVersion = answer(404, "This version of the service does not exist.");

/** Requests that come back to us again and again would take every connection there is. RFC 8586. */
const mostHops = 8;

/** The service that answers, for the log; `txn.route` is what `render` writes into the maps. */
const service = "%[var(txn.route),field(5,|)]";

export function httpFrontend(options: RenderOptions): string {
  const { https, trusted = [] } = options;
  return lines("frontend http from http:common", [
    `guid ${frontendGuid("http")}`,
    ...binds(options.httpPort, options),
    ...(https === undefined ? [] : binds(https.port, options, tls(options.dir))),
    // Here they hold for backends as well.
    "errorfiles json",
    "unique-id-format %[uuid()]",
    ...(trusted.length === 0 ? ["unique-id-header X-Request-ID"] : []),
    `log-format "%ci:%cp [%tr] %ft ${service}/%si:%sp %TR/%Tw/%Tc/%Tr/%Ta %ST %B %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq ${trusted.length === 0 ? "%ID" : "%[var(txn.id)]"} %{+Q}r"`,
    ...(trusted.length === 0 ? untrustedHeaders(https) : trustedHeaders(trusted, https)),
    ...(https?.redirect === true ? redirect(https.port) : []),
    `${answer(508, "This request came back to the load balancer too often.")} if { req.hdr_cnt(cdn-loop) ge ${mostHops} }`,
    "http-request add-header CDN-Loop switchyard",
    // One look-up in a tree finds the longest prefix that ends at a segment, among any number of routes.
    "http-request set-var(txn.path) path,concat(/)",
    ...lookUp("route", "map_beg", options.dir),
    `${answer(404, "No service has this path.")} unless { var(txn.route) -m found }`,
    // Only a request that may be repeated is sent again after an instance has seen it.
    "http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE TRACE }",
    "http-request allow unless { var(txn.route) -m beg v }",
    ...versions(options.dir),
    "use_backend %[var(txn.route),field(4,|)]",
  ]);
}

/** Sets a variable to what the map of routes has for the host, or else for any host. */
function lookUp(variable: string, method: "map_beg" | "map_beg_key", dir: string, unless = ""): string[] {
  const set = (host: string) =>
    `http-request set-var(txn.${variable}) ${host},concat(,txn.path),${method}(${dir}/routes.map)`;
  return [
    `${set("req.hdr(host),field(1,:),rtrim(.),lower")}${unless === "" ? "" : ` unless ${unless}`}`,
    `${set("str(*)")} unless ${unless === "" ? "" : `${unless} or `}{ var(txn.${variable}) -m found }`,
  ];
}

/** What only a route needs that stands for the versions of a service. In the end `txn.route` is that of one of them. */
function versions(dir: string): string[] {
  const unnamed = "!{ var(txn.version) -m found }";
  const named = "{ var(txn.version) -m found }";
  const shared = "{ var(txn.route),field(4,|) -m beg % }";
  return [
    "http-request set-var(txn.family) var(txn.route),field(3,|)",
    "http-request set-var(txn.length) var(txn.family),length",
    // A version that is not there must not be answered by another one, however it is written.
    `${noVersion} if { var(txn.path),bytes(txn.length),url_dec -m reg ^/v[0-9]+/ }`,
    // `X-Version: v1` chooses: the key of that version's own route is put together from the key that has been found.
    "http-request set-var(txn.version) req.hdr(x-version)",
    `${noVersion} if ${named} !{ var(txn.version) -m reg ^v[0-9]{1,9}$ }`,
    ...lookUp("key", "map_beg_key", dir, unnamed),
    `http-request set-var(txn.own) var(txn.key),concat(,txn.version,/),map_beg(${dir}/routes.map) if ${named}`,
    // What is found is the route of all versions where there is no such one.
    `${noVersion} if ${named} { var(txn.own) -m beg v }`,
    // The path is still the one that was asked for, and whether it is taken off is for that version to say.
    `http-request set-var(txn.from) var(txn.length),add(1) if ${named}`,
    `http-request set-var(txn.from) int(1) if ${named} { var(txn.own),field(2,|) 1 }`,
    `http-request set-var(txn.rest) var(txn.own),field(4,|,0) if ${named}`,
    `http-request set-var(txn.route) str(-|),concat(,txn.from,|),concat(,txn.family,|),concat(,txn.rest) if ${named}`,
    `${noVersion} if { var(txn.route),field(4,|) -m str ${nowhere} }`,
    // Versions that share requests: a slot from 0 to 99 leads to one of them. Clients of a sticky one keep theirs.
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

/** A pattern, a path, or longer than any name with a port (RFC 1035, 2.3.4): what is said of it must fit the request's buffer. */
const badHost =
  "http-request deny deny_status 400 if { req.hdr(host) -m sub / * } || { req.hdr(host) -m len gt 260 }";

/** HAProxy has header names in lower case. */
const remove = (headers: string): string => `http-request del-header ^(${headers}) -m reg`;

/** What is between a client and us (RFC 9110, 7.6.1), and `Proxy`, which CGI takes for its own setting (CVE-2016-5385). */
const unforwarded = "keep-alive$|http2-settings$|proxy(-connection)?$";
/** And what only the load balancer can know. Not with `-` alone, because CGI and its heirs make no difference. */
const forwarded = `x[^a-z0-9](forwarded([^a-z0-9]|$)|real[^a-z0-9]ip$|request[^a-z0-9]id$)|forwarded$|${unforwarded}`;
/** Of that, what nobody is believed: X-Forwarded-* and X-Request-ID in other spellings, and the rest in any. */
const unsupported = `x([^a-z0-9-]forwarded([^a-z0-9]|$)|-forwarded([^a-z0-9-]|$)|[^a-z0-9]real[^a-z0-9]ip$|[^a-z0-9-]request[^a-z0-9]id$|-request[^a-z0-9-]id$)|forwarded$|${unforwarded}`;

/**
 * A client could have the next proxy drop our headers by naming them in `Connection`. And a wish for another protocol is
 * none unless it stands there: RFC 9110, 7.8.
 */
const hopByHop = [
  "http-request del-header Upgrade unless { req.hdr(connection) -i -m str upgrade }",
  "http-request del-header Connection unless { req.hdr(upgrade) -m found }",
  "http-request set-header Connection upgrade if { req.hdr(upgrade) -m found }",
];

/** It is never taken from outside. */
const untrustedHeaders = (https: Https): string[] => [
  remove(forwarded),
  ...hopByHop,
  badHost,
  "http-request add-header X-Forwarded-For %[src]",
  `http-request add-header X-Forwarded-Proto ${protocol(https)}`,
  "http-request add-header X-Forwarded-Host %[req.hdr(host)] if { req.hdr(host) -m found }",
];

/** Peers that are load balancers themselves have said who the client is; their word is kept and ours added. */
const trustedHeaders = (trusted: readonly string[], https: Https): string[] => [
  ...trusted.map((network) => `acl trusted src ${network}`),
  `${remove(forwarded)} unless trusted`,
  remove(unsupported),
  // A request id is repeated in the log, so it has to look like one, and to be one.
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
 * 308 keeps method and body. What has come by HTTPS to a trusted peer is not sent round in a circle; what names no host cannot
 * be sent anywhere.
 */
const redirect = (port: number): string[] => [
  "http-request set-var(txn.name) 'req.hdr(host),regsub(:[0-9]+$,)'",
  "http-request deny deny_status 400 if !{ var(txn.name) -m len gt 0 } !{ req.hdr(x-forwarded-proto) -i https }",
  `http-request redirect code 308 location https://%[var(txn.name)]${port === 443 ? "" : `:${port}`}%[pathq] unless { req.hdr(x-forwarded-proto) -i https }`,
];
