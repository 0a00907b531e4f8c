/** The sections of the configuration that are independent of services. */
import { STATUS_CODES } from "node:http";
import type { Settings } from "../../../../routing/settings";
import { authorityFolder } from "./authorities";
import { countersFile } from "./counters";
import { holdScript } from "./hold";
import { internalTcp, profileSections } from "./backend-profiles";
import { outside } from "./inside";
import { binds, lines } from "./syntax";
import type { RenderOptions } from "./types";

/**
 * How long, and for how many reloads, connections from before a reload may go on, such as websockets. A worker that only
 * finishes connections runs no health checks and needs the memory of its configuration, 6 MB or more.
 */
const hardStop = "1d";
const mostReloads = 10;

/**
 * HAProxy answers a request that exceeds its limits with a page of HTML, or over HTTP/2 with an error of the protocol. Its
 * limits are therefore above those of the settings, so that most requests with too many or too large headers get a reason.
 * Buffers also hold the URL.
 */
function headerLimits({ headerBytes, headerFields }: Settings): string[] {
  const bufferBytes = Math.ceil(headerBytes * 1.5);
  return [
    `tune.bufsize ${bufferBytes}`,
    `tune.http.maxhdr ${headerFields * 2}`,
    // How much released memory a thread keeps. HAProxy's default is room for 32 of its own buffers of 16 KiB; a thread that
    // has fewer spends a tenth of its time on allocating them.
    `tune.memory.hot-size ${bufferBytes * 96}`,
  ];
}

/** The answers that HAProxy gives by itself, by status. */
export const errorPages: Readonly<Record<number, string>> = {
  400: "This request names no host, or an invalid one.",
  500: "The load balancer failed on this request.",
  502: "The instance that this request went to gave no valid answer, or one with too many or too large headers.",
  503: "No instance of this service can take this request now.",
  504: "The instance that this request went to took too long.",
};

export const errorPageName = (status: number | string): string => `${status}.http`;

export function errorPage(status: number, message: string): string {
  const body = `${JSON.stringify({ status, error: message })}\n`;
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Error"}`,
    "Content-Type: application/json",
    "Cache-Control: no-store",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "",
    body,
  ].join("\r\n");
}

export function globalSection(settings: Settings, options: RenderOptions): string {
  return (
    lines("global", [
      "log stdout len 8192 format raw daemon",
      `maxconn ${settings.maxconn}`,
      `nbthread ${options.threads}`,
      ...headerLimits(settings),
      `hard-stop-after ${hardStop}`,
      `mworker-max-reloads ${mostReloads}`,
      // Per cent. Without it, thousands of servers added together would be checked together forever.
      "spread-checks 25",
      `stats socket ${options.runDir}/worker.sock mode 600 level admin expose-fd listeners`,
      // The renderer keeps one connection open for its commands.
      "stats timeout 1d",
      ...(options.holding === true ? [`lua-load-per-thread ${holdScript(options.dir)}`] : []),
      `ca-base ${authorityFolder(options.dir)}`,
      `server-state-file ${options.dir}/server.state`,
      `stats-file ${countersFile(options.dir)}`,
    ]) +
    "\n" +
    lines(
      "http-errors json",
      Object.keys(errorPages).map((status) => `errorfile ${status} ${options.dir}/${errorPageName(status)}`),
    )
  );
}

export function defaultsSections(settings: Settings, options: RenderOptions): string {
  const common = [
    `timeout connect ${settings.connectTimeoutMs}`,
    `timeout client ${settings.clientTimeoutMs}`,
    `timeout server ${settings.serverTimeoutMs}`,
    // The wait for an instance at its connection limit. HAProxy's default is the connect timeout.
    `timeout queue ${settings.serverTimeoutMs}`,
    "timeout check 2s",
    // Websockets and other long-lived connections.
    "timeout tunnel 1h",
    "timeout client-fin 30s",
    // A machine that loses its power ends no connection. Without these, nobody notices where an answer is waited for.
    "option srvtcpka",
    "srvtcpka-idle 10s",
    "srvtcpka-intvl 5s",
    "srvtcpka-cnt 4",
    "balance roundrobin",
    "retries 3",
    // Each retry goes to another instance, so an instance that has just gone costs no request.
    "option redispatch 1",
    "option dontlognull",
    "load-server-state-from-file global",
  ];
  return (
    lines("defaults http:common", [
      "mode http",
      ...common,
      "timeout http-request 10s",
      "timeout http-keep-alive 60s",
      "retry-on conn-failure empty-response",
      // After a reload, the old worker answers one more request on each idle connection before it closes it. If it closed
      // them at once, a request on its way would fail.
      "option idle-close-on-response",
      "option httpchk",
    ]) +
    "\n" +
    profileSections(options) +
    "\n" +
    lines("defaults tcp", ["mode tcp", ...common, "option tcplog"]) +
    "\n" +
    // TCP ports speak no PROXY protocol: who connects is the client.
    lines(`defaults ${internalTcp} from tcp`, [
      `tcp-request content reject if ${outside({ dir: options.dir })}`,
    ]) +
    "\n" +
    // HAProxy's own metrics, which the admin port passes on.
    lines("frontend metrics from http:common", [
      `bind unix@${options.runDir}/metrics.sock mode 600`,
      "http-request use-service prometheus-exporter",
    ])
  );
}

/** The credentials stay in HAProxy's environment; the file only names the variables. */
export function statsFrontend(port: number, options: RenderOptions): string {
  return lines("frontend stats from http:common", [
    ...binds(port, options),
    "stats enable",
    "stats uri /",
    "stats realm Switchyard",
    "stats show-legends",
    "stats refresh 10s",
    'stats auth "${STATS_USER}:${STATS_PASSWORD}"',
  ]);
}
