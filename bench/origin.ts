import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { Container, files } from "./containers";
import { ports } from "./ports";

/**
 * Starts the instances of all services: one HAProxy that answers requests itself, faster than any contender can forward
 * them. It listens on every loopback address and rejects all other clients.
 */
export function startOrigin(core?: number): Promise<Container> {
  const config = [
    "global",
    "  nbthread 1",
    "defaults",
    "  mode http",
    // Otherwise the health checks of thousands of instances would fill the kernel with closed connections.
    "  option nolinger",
    "  timeout connect 5s",
    "  timeout client 120s",
    "  timeout server 5s",
    "frontend origin",
    `  bind 0.0.0.0:${ports.origin}`,
    "  tcp-request connection reject unless { src 127.0.0.0/8 }",
    '  http-request return status 200 content-type text/plain string "ok"',
    "",
  ].join("\n");
  const file = join(files, "origin.cfg");
  writeFileSync(file, config);
  return Container.run("origin", ["-f", "/origin.cfg"], {
    program: "haproxy",
    docker: ["-v", `${file}:/origin.cfg:ro`],
    ...(core === undefined ? {} : { core }),
  });
}
