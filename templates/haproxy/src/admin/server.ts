/** The admin port: a page for people, and /ready, /routes, /explain and /metrics for programs. Read-only. */
import { createServer, request, type Server } from "node:http";
import { messageOf } from "../../../../lib/errors";
import { jsonReply as json, type Reply } from "../../../../lib/reply";
import { some } from "../../../../lib/text";
import type { ServerState } from "../haproxy/commands";
import type { Metrics } from "../metrics";
import type { Controller } from "../reconcile/controller";
import type { ScalingStatus } from "../../../../routing/scaling/status";
import type { Problem } from "../../../../routing/types";
import type { HttpsReport } from "../tls/certificate";
import { explain, parseAsked } from "./explain";
import { explainText } from "./explain-text";
import { renderPage } from "./page";
import { pageCss, pageJs } from "./page-assets";
import { buildStatus, instanceStatuses, type Status } from "./status";

export interface AdminOptions {
  readonly controller: Controller;
  readonly metrics: Metrics;
  readonly states: () => Promise<ServerState[]>;
  /** Servers (`backend/server`) that have answered since they were added. */
  readonly proven: () => ReadonlySet<string>;
  readonly running: () => boolean;
  readonly stopping: () => boolean;
  readonly watching: () => {
    readonly connected: boolean;
    readonly lastAnswer: number;
    readonly index: number;
  };
  /** What is wrong with servers (`backend/server`) that do not answer as they should. */
  readonly findings: () => ReadonlyMap<string, string>;
  /** What is wrong with the files of authorities. */
  readonly authorities: () => readonly Problem[];
  /** What the autoscaler has decided, if there is one. */
  readonly scaling: () => Promise<ScalingStatus | undefined>;
  /** Present if there is a folder of certificates. */
  readonly https?: () => HttpsReport;
  /** The socket of HAProxy's own metrics. */
  readonly metricsSocket: string;
}

/** A second defence: should a foreign name ever be shown unescaped, the browser still loads and runs nothing foreign. */
const securityHeaders = {
  "Cache-Control": "no-store",
  "Content-Security-Policy":
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
} as const;

export function startAdmin(address: string, port: number, options: AdminOptions): Promise<Server> {
  const server = createServer((incoming, response) => {
    void answer(incoming.method ?? "GET", incoming.url ?? "/", options)
      .catch((error: unknown) => json(500, { error: messageOf(error) }))
      .then(({ status, type, body }) => {
        response.writeHead(status, { "Content-Type": type, ...securityHeaders });
        response.end(incoming.method === "HEAD" ? undefined : body);
      });
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, address, () => {
      resolve(server);
    });
  });
}

async function answer(method: string, url: string, options: AdminOptions): Promise<Reply> {
  if (method !== "GET" && method !== "HEAD") return json(405, { error: "only GET and HEAD are allowed" });
  const [path, search = ""] = url.split("?", 2);
  const parameters = new URLSearchParams(search);
  switch (path) {
    case "/":
      return {
        status: 200,
        type: "text/html; charset=utf-8",
        body: renderPage(await currentStatus(options), parameters.get("q") ?? ""),
      };
    case "/page.css":
      return { status: 200, type: "text/css; charset=utf-8", body: pageCss };
    case "/page.js":
      return { status: 200, type: "text/javascript; charset=utf-8", body: pageJs };
    case "/ready":
      return ready(options, parameters.get("index"));
    case "/routes":
      return json(200, await currentStatus(options));
    case "/explain":
      return explained(options, parameters);
    case "/metrics":
      return { status: 200, type: "text/plain; version=0.0.4", body: await metricsText(options, search) };
    default:
      return json(404, { error: "not found; try /, /ready, /routes, /explain?url=/ or /metrics" });
  }
}

function whyNotReady({ controller, running, stopping }: AdminOptions): string | undefined {
  if (stopping()) return "stopping";
  if (!running()) return "HAProxy is not running yet";
  return controller.synced ? undefined : "not synchronised with Consul yet";
}

/** With an index, whether everything up to that index of Consul is in force, which a deployment can wait for. */
function ready(options: AdminOptions, wanted: string | null): Reply {
  const { appliedIndex: index, pending } = options.controller;
  if (wanted !== null && !/^[0-9]{1,15}$/.test(wanted))
    return json(400, {
      error: "index is not a number: use the X-Consul-Index header of one of Consul's answers",
    });
  const why =
    whyNotReady(options) ??
    (index < Number(wanted ?? 0)
      ? `Consul's index ${Number(wanted)} is not in force yet, ${index} is${pending.length === 0 ? "" : `; HAProxy must be reloaded, because ${some(pending)}`}`
      : undefined);
  return why === undefined ? json(200, { ready: true, index }) : json(503, { ready: false, why, index });
}

async function currentStatus(options: AdminOptions): Promise<Status> {
  const { controller, states, proven, watching } = options;
  const { connected, lastAnswer } = watching();
  return buildStatus({
    notReady: whyNotReady(options),
    failure: controller.lastFailure,
    pending: controller.pending,
    consul: { connected, lastAnswer, index: controller.appliedIndex },
    routing: controller.routing,
    // Show everything else if the worker does not answer.
    states: await states().catch(() => []),
    proven: proven(),
    findings: options.findings(),
    problems: options.authorities(),
    held: controller.retained.values(),
    changes: controller.changes,
    scaling: await options.scaling(),
    ...(options.https === undefined ? {} : { https: options.https() }),
  });
}

/** Explains a request by the routing in force, which may differ from what Consul says. */
async function explained(options: AdminOptions, parameters: URLSearchParams): Promise<Reply> {
  const { catalog, routing } = options.controller;
  const asked = parseAsked(parameters.get("url") ?? "");
  if (!asked.ok) return json(400, { error: `url ${asked.error}` });
  if (catalog === undefined || routing === undefined) return json(503, { error: whyNotReady(options) });
  const version = parameters.get("version");
  const request = { ...asked.value, ...(version !== null && { version }) };
  const status = await currentStatus(options);
  const checks = {
    source: "those of the load balancer that answered",
    instances: instanceStatuses(status),
    scaling: new Map(status.services.map(({ name, scaling }) => [name, scaling])),
    limits: new Map(status.services.map(({ name, limits }) => [name, limits])),
    jobs: status.jobs,
  };
  const explanation = explain(request, catalog, routing, checks);
  return parameters.has("json")
    ? json(200, explanation)
    : { status: 200, type: "text/plain; charset=utf-8", body: `${explainText(explanation).join("\n")}\n` };
}

/** Our own metrics and, while it runs, HAProxy's. A query such as `scope=global` goes to HAProxy, to narrow its part. */
async function metricsText(options: AdminOptions, search: string): Promise<string> {
  const own = options.metrics.text(await currentStatus(options), Date.now());
  if (!options.running()) return own;
  const query = /^[a-z0-9_=&-]{1,200}$/.test(search) ? `?${search}` : "";
  return own + (await haproxyMetrics(options.metricsSocket, query).catch(() => ""));
}

const metricsTimeoutMs = 5_000;

function haproxyMetrics(socketPath: string, query: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path: `/metrics${query}`, timeout: metricsTimeoutMs }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        resolve(Buffer.concat(chunks).toString("utf8"));
      });
    });
    sent.on("timeout", () => sent.destroy(new Error("HAProxy did not answer in time")));
    sent.on("error", reject);
    sent.end();
  });
}
