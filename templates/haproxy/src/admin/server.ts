/** The admin port: a page for people, and /ready, /routes, /explain and /metrics for programs. It only tells; nothing can be changed. */
import { createServer, request, type Server } from "node:http";
import type { HttpsReport } from "../tls/certificate";
import type { ServerState } from "../haproxy/commands";
import type { Controller } from "../reconcile/controller";
import { explain, parseAsked } from "./explain";
import { explainText } from "./explain-text";
import { liveOf } from "./client";
import type { Metrics } from "../metrics";
import { renderPage } from "./page";
import { pageCss, pageJs } from "./page-assets";
import { some } from "../../../../lib/text";
import { buildView, type View } from "./status";

export interface AdminOptions {
  readonly controller: Controller;
  readonly metrics: Metrics;
  readonly states: () => Promise<ServerState[]>;
  /** Servers (`backend/server`) that have answered since they came. */
  readonly proven: () => ReadonlySet<string>;
  readonly running: () => boolean;
  readonly stopping: () => boolean;
  readonly watching: () => {
    readonly connected: boolean;
    readonly lastAnswer: number;
    readonly index: number;
  };
  /** Where certificates are mounted. */
  readonly https?: () => HttpsReport;
  /** HAProxy's own metrics. */
  readonly metricsSocket: string;
}

interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const json = (status: number, value: unknown): Reply => ({
  status,
  type: "application/json",
  body: `${JSON.stringify(value, null, 2)}\n`,
});

/**
 * Foreign names are escaped wherever they are shown; should that ever fail, a browser still runs, loads and sends nothing
 * that is not from here.
 */
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
      .catch((error: unknown) => json(500, { error: error instanceof Error ? error.message : String(error) }))
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
  if (method !== "GET" && method !== "HEAD") return json(405, { error: "only GET and HEAD" });
  const [path, search = ""] = url.split("?", 2);
  const parameters = new URLSearchParams(search);
  switch (path) {
    case "/":
      return {
        status: 200,
        type: "text/html; charset=utf-8",
        body: renderPage(await view(options), parameters.get("q") ?? ""),
      };
    case "/page.css":
      return { status: 200, type: "text/css; charset=utf-8", body: pageCss };
    case "/page.js":
      return { status: 200, type: "text/javascript; charset=utf-8", body: pageJs };
    case "/ready":
      return ready(options, parameters.get("index"));
    case "/routes":
      return json(200, await view(options));
    case "/explain":
      return explained(options, parameters);
    case "/metrics":
      return { status: 200, type: "text/plain; version=0.0.4", body: await metricsText(options, search) };
    default:
      return json(404, { error: "not here; try /, /ready, /routes, /explain?url=/ or /metrics" });
  }
}

function whyNotReady({ controller, running, stopping }: AdminOptions): string | undefined {
  if (stopping()) return "stopping";
  if (!running()) return "HAProxy is not running yet";
  return controller.synced ? undefined : "not synchronised with Consul yet";
}

/** With an index, whether what Consul had at that index is in force: what a deployment waits for. */
function ready(options: AdminOptions, wanted: string | null): Reply {
  const { appliedIndex: index, pending } = options.controller;
  if (wanted !== null && !/^[0-9]{1,15}$/.test(wanted))
    return json(400, { error: "index is not a number: use the X-Consul-Index of an answer of Consul" });
  const why =
    whyNotReady(options) ??
    (index < Number(wanted ?? 0)
      ? `Consul's index ${Number(wanted)} is not in force yet, ${index} is${pending.length === 0 ? "" : `; HAProxy has to be reloaded, because ${some(pending)}`}`
      : undefined);
  return why === undefined ? json(200, { ready: true, index }) : json(503, { ready: false, why, index });
}

async function view(options: AdminOptions): Promise<View> {
  const { controller, states, proven, watching } = options;
  const { connected, lastAnswer } = watching();
  return buildView({
    notReady: whyNotReady(options),
    failure: controller.lastFailure,
    pending: controller.pending,
    consul: { connected, lastAnswer, index: controller.appliedIndex },
    routing: controller.routing,
    // A worker that cannot be asked just now is no reason to show nothing.
    states: await states().catch(() => []),
    proven: proven(),
    held: controller.held.values(),
    changes: controller.changes,
    ...(options.https === undefined ? {} : { https: options.https() }),
  });
}

/** What happens to a request, in words or as JSON: by what is in force, which need not be what Consul says. */
async function explained(options: AdminOptions, parameters: URLSearchParams): Promise<Reply> {
  const { catalog, routing } = options.controller;
  const asked = parseAsked(parameters.get("url") ?? "");
  if (!asked.ok) return json(400, { error: `url ${asked.error}` });
  if (catalog === undefined || routing === undefined) return json(503, { error: whyNotReady(options) });
  const version = parameters.get("version");
  const request = { ...asked.value, ...(version !== null && { version }) };
  const checks = { said: "those of the load balancer, which was asked", live: liveOf(await view(options)) };
  const explanation = explain(request, catalog, routing, checks);
  return parameters.has("json")
    ? json(200, explanation)
    : { status: 200, type: "text/plain; charset=utf-8", body: `${explainText(explanation).join("\n")}\n` };
}

/** Ours, and HAProxy's own as long as it runs; a query such as `scope=global` is for HAProxy, which may have a lot to say. */
async function metricsText(options: AdminOptions, search: string): Promise<string> {
  const own = options.metrics.text(await view(options), Date.now());
  if (!options.running()) return own;
  const query = /^[a-z0-9_=&-]{1,200}$/.test(search) ? `?${search}` : "";
  return own + (await haproxyMetrics(options.metricsSocket, query).catch(() => ""));
}

function haproxyMetrics(socketPath: string, query: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path: `/metrics${query}`, timeout: 5_000 }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        resolve(Buffer.concat(chunks).toString("utf8"));
      });
    });
    sent.on("timeout", () => sent.destroy(new Error("HAProxy's metrics take too long")));
    sent.on("error", reject);
    sent.end();
  });
}
