/** What a running load balancer says of its instances, for commands that run beside it. */
import type { Routing } from "../../../model/routes";
import { isFields } from "./decode";

export interface LiveInstance {
  readonly state: "up" | "down" | "starting";
  /** What its last health check found. */
  readonly check?: string;
}

export interface Live {
  /** By `service address:port`. */
  readonly instances: ReadonlyMap<string, LiveInstance>;
  /** How many it keeps although Consul dropped them. */
  readonly held: number;
}

/** Milliseconds. */
const patience = 5_000;
/** What the load balancer says is in plain words. */
const words = /^[\x20-\x7e]{1,200}$/;

/** Undefined where nothing answers at that address, or something else does. */
export async function askLive(address: string, port: number): Promise<Live | undefined> {
  try {
    const url = `http://${address.includes(":") ? `[${address}]` : address}:${port}/routes`;
    const answer = await fetch(url, { signal: AbortSignal.timeout(patience), redirect: "error" });
    return answer.ok ? decodeLive(await answer.json()) : undefined;
  } catch {
    return undefined;
  }
}

/** Of `/routes`, whatever is as it should be: anybody can listen at that port. */
export function decodeLive(body: unknown): Live | undefined {
  if (!isFields(body) || !Array.isArray(body["services"])) return undefined;
  const instances = new Map<string, LiveInstance>();
  for (const service of body["services"] as unknown[]) {
    if (!isFields(service) || !Array.isArray(service["instances"])) continue;
    for (const each of service["instances"] as unknown[]) {
      if (!isFields(each)) continue;
      const { address, state, check } = each;
      if (state !== "up" && state !== "down" && state !== "starting") continue;
      const said = typeof check === "string" && words.test(check);
      instances.set(`${String(service["name"])} ${String(address)}`, { state, ...(said && { check }) });
    }
  }
  return { instances, held: Array.isArray(body["held"]) ? body["held"].length : 0 };
}

/** Of the servers (`backend/server`) of a routing, those that have passed a check, as far as is known, and those that do not now. */
export function checksOf(
  { backends }: Routing,
  { instances }: Live,
): { readonly proven: ReadonlySet<string>; readonly down: ReadonlySet<string> } {
  const [proven, down] = [new Set<string>(), new Set<string>()];
  for (const { name, service, servers } of backends) {
    for (const { name: server, address, port } of servers) {
      const state = instances.get(`${service} ${address}:${port}`)?.state;
      if (state !== "starting") proven.add(`${name}/${server}`);
      if (state === "down") down.add(`${name}/${server}`);
    }
  }
  return { proven, down };
}
