import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { Container, files } from "./containers";
import { ports } from "./ports";

/**
 * The instances of all services: HAProxy that answers by itself, which is faster than anything that it is compared
 * through. It listens on every loopback address and answers nobody else.
 */
export function startOrigin(core?: number): Promise<Container> {
  const config = [
    "global",
    "  nbthread 1",
    "defaults",
    "  mode http",
    // A health check every 2 s of thousands of instances would leave the kernel full of connections that are over.
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
