/** The admin port: /ready, /routes and /metrics. */
import { createServer, request, type Server } from "node:http";
import { routeUrl } from "../../../model/routes";
import { version } from "../../../model/version";
import type { ServerState } from "./commands";
import type { Controller } from "./controller";
import type { Metrics } from "./metrics";

export interface AdminOptions {
  readonly controller: Controller;
  readonly metrics: Metrics;
  readonly states: () => Promise<ServerState[]>;
  readonly running: () => boolean;
  readonly stopping: () => boolean;
  readonly watching: () => {
    readonly connected: boolean;
    readonly lastAnswer: number;
    readonly index: number;
  };
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

export function startAdmin(address: string, port: number, options: AdminOptions): Promise<Server> {
  const server = createServer((incoming, response) => {
    void answer(incoming.method ?? "GET", incoming.url ?? "/", options)
      .catch((error: unknown) => json(500, { error: error instanceof Error ? error.message : String(error) }))
      .then(({ status, type, body }) => {
        response.writeHead(status, { "Content-Type": type, "Cache-Control": "no-store" });
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
  switch (url.split("?")[0]) {
    case "/ready":
      return ready(options);
    case "/routes":
      return json(200, await routes(options));
    case "/metrics":
      return { status: 200, type: "text/plain; version=0.0.4", body: await metrics(options) };
    default:
      return json(404, { error: "not here; try /ready, /routes or /metrics" });
  }
}

function ready({ controller, running, stopping }: AdminOptions): Reply {
  const why = stopping()
    ? "stopping"
    : !running()
      ? "HAProxy is not running yet"
      : !controller.synced
        ? "not synchronised with Consul yet"
        : undefined;
  return why === undefined
    ? json(200, { ready: true, index: controller.appliedIndex })
    : json(503, { ready: false, why });
}

async function routes({ controller, states, watching }: AdminOptions): Promise<unknown> {
  const state = new Map((await states()).map((each) => [`${each.backend}/${each.server}`, each]));
  const { routing } = controller;
  const held = [...controller.held.values()].map(({ instance, since }) => ({
    service: instance.service,
    id: instance.id,
    address: `${instance.address}:${instance.port}`,
    since: new Date(since).toISOString(),
  }));
  const heldAt = new Set(held.map(({ service, address }) => `${service} ${address}`));
  return {
    version,
    consul: { connected: watching().connected, index: controller.appliedIndex },
    ...(controller.lastFailure === undefined ? {} : { failure: controller.lastFailure }),
    routes: routing?.routes.map((route) => ({
      url: routeUrl(route),
      ...(route.choice === undefined ? {} : { versionsOf: route.versionsOf, choice: route.choice }),
      stripPrefix: route.stripPrefix,
      targets: route.targets.map(({ service, share }) => ({ service, share })),
    })),
    tcp: routing?.tcp.map(({ port, service }) => ({ port, service })),
    services: routing?.backends.map((backend) => ({
      name: backend.service,
      instances: backend.servers.map((server) => {
        const live = state.get(`${backend.name}/${server.name}`);
        return {
          ids: server.ids,
          address: `${server.address}:${server.port}`,
          weight: server.weight,
          state: live === undefined ? "unknown" : live.maintenance ? "leaving" : live.up ? "up" : "down",
          ...(heldAt.has(`${backend.service} ${server.address}:${server.port}`) ? { held: true } : {}),
        };
      }),
      critical: backend.unhealthy,
    })),
    held,
    quarantined: routing?.problems.filter(({ level }) => level === "quarantined").map(withoutLevel),
    warnings: routing?.problems.filter(({ level }) => level === "warning").map(withoutLevel),
    changes: controller.changes,
  };
}

const withoutLevel = ({ subject, message }: { subject: string; message: string }) => ({ subject, message });

async function metrics({
  controller,
  metrics,
  watching,
  metricsSocket,
  running,
}: AdminOptions): Promise<string> {
  const { lastAnswer, connected } = watching();
  const problems = controller.routing?.problems ?? [];
  const own = metrics.text({
    routes: { help: "Routes.", value: controller.routing?.routes.length ?? 0 },
    services: { help: "Services.", value: controller.routing?.backends.length ?? 0 },
    quarantined: {
      help: "Services and instances that are refused.",
      value: problems.filter(({ level }) => level === "quarantined").length,
    },
    held: { help: "Instances kept although Consul has dropped them.", value: controller.held.size },
    applied_index: { help: "Consul index that is in force.", value: controller.appliedIndex },
    consul_connected: { help: "Whether Consul answers.", value: connected ? 1 : 0 },
    last_answer_seconds: {
      help: "Age of Consul's last answer.",
      value: lastAnswer === 0 ? -1 : (Date.now() - lastAnswer) / 1000,
    },
  });
  return own + (running() ? await haproxyMetrics(metricsSocket).catch(() => "") : "");
}

function haproxyMetrics(socketPath: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path: "/metrics", timeout: 5_000 }, (response) => {
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
