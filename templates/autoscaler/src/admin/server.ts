/** The admin port: `/status`, `/metrics` and `/ready`. Read-only. */
import { createServer, type Server } from "node:http";
import { jsonReply as json, type Reply } from "../../../../lib/reply";
import { metrics } from "./metrics";
import type { View } from "./view";

export function reply(method: string | undefined, url: string | undefined, view: View): Reply {
  if (method !== "GET" && method !== "HEAD") return json(405, { error: "only GET is allowed" });
  switch (url) {
    case "/ready":
      return json(view.problem === undefined ? 200 : 503, {
        ready: view.problem === undefined,
        ...(view.problem !== undefined && { why: view.problem }),
      });
    case "/metrics":
      return { status: 200, type: "text/plain; version=0.0.4", body: metrics(view) };
    case "/status": {
      const { node, dry, isLeading, leader, problem, status } = view;
      return json(200, { node, dry, isLeading, leader, problem, ...(isLeading && { status }) });
    }
    default:
      return json(404, { error: "there are /status, /metrics and /ready" });
  }
}

export function startAdmin(host: string, port: number, view: () => View): Promise<Server> {
  const server = createServer((request, response) => {
    const { status, type, body } = reply(request.method, request.url, view());
    response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
    response.end(body);
  });
  return new Promise((resolve, reject) => {
    server.on("error", reject).listen(port, host, () => {
      resolve(server);
    });
  });
}
