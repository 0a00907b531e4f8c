import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { hostname, networkInterfaces } from "node:os";

/** How the example service presents itself, and how long it takes to leave. */
export interface HelloOptions {
  readonly name: string;
  readonly version: string;
  /** From the first stop signal until new connections are refused: the load balancer's time to look elsewhere. */
  readonly drainSeconds: number;
  /** From the first stop signal until requests that still run are cut off. */
  readonly graceSeconds: number;
  readonly log: (line: string) => void;
}

export interface Hello {
  readonly server: Server;
  /** Fails the health check, serves on while the load balancer turns away, then finishes what runs and closes. */
  drain(): Promise<void>;
}

/** The headers that the load balancer adds or that tell how a request came. */
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
    // A body that is still arriving when we answer would make node cut the connection under the client.
    request.on("end", () => {
      answer(request, response);
    });
  });
  // Longer than any load balancer keeps an idle connection: the side that opened it should be the one that closes it.
  server.keepAliveTimeout = 75_000;

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    const slow = Number(new URL(request.url ?? "/", "http://localhost").searchParams.get("wait") ?? 0);
    if (path === "/health" || isProbe(request, path)) {
      send(request, response, draining === undefined ? 200 : 503, {
        status: draining === undefined ? "ok" : "draining",
      });
    } else if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("allow", "GET, HEAD");
      send(request, response, 405, { error: `${request.method ?? ""} is not something to say hello with` });
    } else if (slow > 0) {
      setTimeout(
        () => {
          send(request, response, 200, describe(request, path, options));
        },
        Math.min(slow, 60_000),
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
        options.log("grace period over: closing the connections that are left");
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

/** The load balancer's health check: a bare `HEAD /`, while a client's has been through the proxy. */
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

/** The instance's own IPv4 address as other containers see it. */
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

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
