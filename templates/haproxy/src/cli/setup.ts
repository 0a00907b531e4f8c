/** What the options mean for the configuration of HAProxy. */
import { existsSync, readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { networksHere } from "../config/inside";
import type { RenderOptions } from "../config/types";
import type { Options } from "./options";

export function renderOptions(options: Options): RenderOptions {
  return {
    httpPort: options.httpPort,
    ...(options.stats ? { statsPort: options.statsPort } : {}),
    threads: options.threads,
    dir: options.stateDir,
    runDir: options.runDir,
    ipv6: hasIpv6(),
    inside: [...networksHere(networkInterfaces(), readFileSync("/proc/net/route", "utf8")), ...options.nodes],
    ...(options.trusted.length === 0 ? {} : { trusted: options.trusted }),
    ...(options.proxyProtocol ? { proxyProtocol: true } : {}),
    ...(options.node === undefined ? {} : { holding: true }),
  };
}

function hasIpv6(): boolean {
  const file = "/proc/net/if_inet6";
  return existsSync(file) && readFileSync(file, "utf8").trim() !== "";
}

/** The ports that no TCP service may take, with who has them. */
export const ownPorts = (options: Options): Map<number, string> =>
  new Map([
    [options.httpPort, "the load balancer's HTTP frontend"],
    [options.statsPort, "the statistics page"],
    [options.adminPort, "the admin port"],
    ...options.consul.addresses.map(({ port }): [number, string] => [port, "Consul"]),
    ...(options.certs === undefined
      ? []
      : [[options.httpsPort, "the load balancer's HTTPS frontend"] as const]),
  ]);
