import { hostPort } from "../../../../lib/tcp";
import { isOn } from "../../../../routing/registration";
import { hasControls, quoted } from "./rules";
import type { Check, Health } from "../types";

export interface CheckTarget {
  readonly address: string;
  readonly port: number;
  readonly exposedPort: string;
  readonly containerId: string;
}

export const dockerCheckName = "Docker HEALTHCHECK";

/**
 * A year. Consul has no check that we update and that never expires; a long TTL comes closest. With a TTL of seconds, all
 * instances would turn critical whenever Registrator is down, although nothing is wrong with them. If a container's state
 * outlasts the year, the next comparison restores it.
 */
const dockerCheckTtl = "8760h";

/** The check described by SERVICE_CHECK_*. If several kinds are set, the first in Registrator's order wins. */
export function checkOf(meta: ReadonlyMap<string, string>, target: CheckTarget) {
  const problems: string[] = [];
  const set = (key: string) => meta.get(`check_${key}`) ?? "";
  const pick = (key: string, valid: (value: string) => boolean, expected: string) => {
    const value = set(key);
    if (value === "" || valid(value)) return value;
    problems.push(`left out SERVICE_CHECK_${key.toUpperCase()}=${quoted(value)}: it must be ${expected}`);
    return "";
  };
  const duration = (key: string) => pick(key, isDuration, "a duration such as 10s");

  const probe = kindOf(set, target, pick, duration);
  if (!probe) return { check: undefined, problems };
  const status = initialStatus(pick);
  const after = duration("deregister_after");
  const timeout = "TTL" in probe ? "" : duration("timeout");
  const check: Check = {
    ...probe,
    ...("TTL" in probe ? {} : { Interval: duration("interval") || "10s" }),
    ...(timeout && { Timeout: timeout }),
    ...(status && { Status: status }),
    ...(after && { DeregisterCriticalServiceAfter: after }),
  };
  return { check, problems };
}

type Pick = (key: string, valid: (value: string) => boolean, expected: string) => string;

function kindOf(
  set: (key: string) => string,
  { address, port, exposedPort, containerId }: CheckTarget,
  pick: Pick,
  duration: (key: string) => string,
): Check | undefined {
  const host = hostPort(address, port);
  const skipVerify = isOn(set("tls_skip_verify")) ? { TLSSkipVerify: true } : {};
  for (const scheme of ["http", "https"] as const) {
    const path = pick(scheme, (value) => !hasControls(value), "a path without control characters");
    if (path === "") continue;
    const method = pick(`${scheme}_method`, (value) => /^[A-Za-z]+$/.test(value), "a method such as HEAD");
    return {
      // Without the slash, the path "@elsewhere" would send Consul to another host.
      HTTP: `${scheme}://${host}${path.startsWith("/") ? "" : "/"}${path}`,
      ...(method && { Method: method }),
      // Consul runs on the host's network, and would request for a container what that one cannot reach.
      DisableRedirects: true,
      ...(scheme === "https" && skipVerify),
    };
  }
  const command = set("cmd");
  if (command) return { Args: ["check-cmd", containerId.slice(0, 12), exposedPort, command] };
  const script = set("script");
  if (script) {
    // Registrator's documentation uses shell lines, but since 1.0 Consul runs scripts without a shell.
    const filled = script.replaceAll("$SERVICE_IP", address).replaceAll("$SERVICE_PORT", String(port));
    return { Args: ["sh", "-c", filled] };
  }
  const ttl = duration("ttl");
  if (ttl) return { TTL: ttl };
  if (isOn(set("tcp"))) return { TCP: host };
  if (isOn(set("grpc"))) {
    return { GRPC: host, ...(isOn(set("grpc_use_tls")) && { GRPCUseTLS: true, ...skipVerify }) };
  }
  return undefined;
}

/**
 * The result of Docker's HEALTHCHECK as a Consul check; undefined for a container without one. A starting container
 * gets a warning: Docker first checks it after a whole interval, 30 s by default, and a load balancer with its own
 * checks need not wait that long if there is no other instance.
 */
export function dockerHealthOf(
  status: string | undefined,
  meta: ReadonlyMap<string, string>,
): { check: Check; health: Health } | undefined {
  const initial = initialStatus((key) => {
    const value = meta.get(`check_${key}`) ?? "";
    return isHealth(value) ? value : "";
  });
  const health = healthOf(status, initial || "warning");
  return health && { check: { Name: dockerCheckName, TTL: dockerCheckTtl }, health };
}

export function healthOf(status: string | undefined, starting: Health): Health | undefined {
  switch (status) {
    case "healthy":
      return "passing";
    case "unhealthy":
      return "critical";
    case "starting":
      return starting;
    default:
      return undefined;
  }
}

function initialStatus(pick: Pick): Health | "" {
  const value = pick("initial_status", isHealth, "passing, warning or critical");
  return isHealth(value) ? value : "";
}

const isHealth = (value: string): value is Health => ["passing", "warning", "critical"].includes(value);

const isDuration = (value: string) =>
  /^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(value) && /[1-9]/.test(value);
