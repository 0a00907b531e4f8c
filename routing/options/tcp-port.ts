import { parseInteger } from "../grammar";
import { option } from "../option";

export const tcpPort = option({
  key: "tcp_port",
  name: "tcpPort",
  for: "tcp",
  parse: (value: string) => parseInteger(value, 1, 65_535),
  check: (value, kind) =>
    kind === "tcp" && value === undefined
      ? "has tag tcp but no port on the load balancer: set SERVICE_TCP_PORT, for example 5432"
      : undefined,
  reference: { meaning: "port of the service on the load balancer; required" },
  examples: ["5432", "25"],
  route: "claim",
});
