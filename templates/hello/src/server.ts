import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { hostname, networkInterfaces } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

/** How the example service presents itself and how it shuts down. */
export interface HelloOptions {
  readonly name: string;
  readonly version: string;
  /** From the first stop signal until new connections are refused: time for the load balancer to stop routing here. */
  readonly drainSeconds: number;
  /** From the first stop signal until requests still running are cut off. */
  readonly graceSeconds: number;
  readonly log: (line: string) => void;
}

export interface Hello {
  readonly server: Server;
  /** Fails the health check, keeps serving for `drainSeconds`, then finishes running requests and closes. */
  drain(): Promise<void>;
}

/** The headers that the load balancer adds or that show the path of a request. */
const SHOWN_HEADERS = [
  "host",
  "user-agent",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-prefix",
  "x-forwarded-proto",
  "x-request-id",
];

export function createHello(options: HelloOptions): Hello {
  let draining: Promise<void> | undefined;

  const server = createServer((request, response) => {
    if (draining !== undefined) response.setHeader("connection", "close");
    request.resume();
    // Node would cut the connection if we answered while the body is still arriving.
    request.on("end", () => {
      answer(request, response);
    });
  });
  // Longer than any load balancer keeps an idle connection: the side that opened it should close it.
  server.keepAliveTimeout = 75_000;

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname: path, searchParams } = new URL(request.url ?? "/", "http://localhost");
    const waitMs = Number(searchParams.get("wait") ?? 0);
    if (path === "/health" || isProbe(request, path)) {
      send(request, response, draining === undefined ? 200 : 503, {
        status: draining === undefined ? "ok" : "draining",
      });
    } else if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("allow", "GET, HEAD");
      send(request, response, 405, { error: `${request.method ?? ""} is not allowed: use GET` });
    } else if (waitMs > 0) {
      setTimeout(
        () => {
          send(request, response, 200, describe(request, path, options));
        },
        Math.min(waitMs, 60_000),
      );
    } else {
      send(request, response, 200, describe(request, path, options));
    }
  }

  async function leave(): Promise<void> {
    const started = Date.now();
    options.log(`draining for ${options.drainSeconds} s`);
    await sleep(options.drainSeconds * 1000);
    const cut = setTimeout(
      () => {
        options.log("grace period over: closing the remaining connections");
        server.closeAllConnections();
      },
      options.graceSeconds * 1000 - (Date.now() - started),
    );
    await new Promise<void>((resolve) => {
      server.close(() => {
        resolve();
      });
      server.closeIdleConnections();
    });
    clearTimeout(cut);
    options.log("stopped");
  }

  return {
    server,
    drain() {
      draining ??= leave();
      return draining;
    },
  };
}

/** Whether this is the load balancer's own `HEAD /` health check. A client's request has been through the proxy. */
function isProbe(request: IncomingMessage, path: string): boolean {
  return request.method === "HEAD" && path === "/" && request.headers["x-forwarded-for"] === undefined;
}

function describe(request: IncomingMessage, path: string, options: HelloOptions): object {
  const shown = SHOWN_HEADERS.map((name) => [name, request.headers[name]]).filter(
    ([, value]) => value !== undefined,
  );
  return {
    timestamp: new Date().toISOString(),
    service: options.name,
    version: options.version,
    hostname: hostname(),
    instance: {
      address: addressOf(networkInterfaces()),
      port: request.socket.localPort,
      pid: process.pid,
      uptimeSeconds: Math.round(process.uptime() * 10) / 10,
      node: process.version,
    },
    path,
    headers: Object.fromEntries(shown) as Record<string, string>,
  };
}

/** The IPv4 address at which other containers see this instance. */
export function addressOf(interfaces: ReturnType<typeof networkInterfaces>): string | undefined {
  return Object.values(interfaces)
    .flat()
    .find((entry) => entry?.family === "IPv4" && !entry.internal)?.address;
}

function send(request: IncomingMessage, response: ServerResponse, status: number, body: object): void {
  const text = `${JSON.stringify(body, null, 2)}\n`;
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
  });
  response.end(request.method === "HEAD" ? undefined : text);
}
