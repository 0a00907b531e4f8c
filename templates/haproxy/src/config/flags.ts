/** What is true of the load balancer as a whole, in a map, because it changes while HAProxy runs. Pure. */
import { isWildcard } from "../../../../routing/grammar";
import type { RouteEntry } from "./types";

/** `ready`: a routing from Consul has been in force. `wildcards`: some route has a host such as `*.example.com`. */
type Flag = "ready" | "wildcards";

/** The condition that a flag is set. */
export const hasFlag = (flag: Flag, dir: string): string =>
  `{ str(${flag}),map_str(${dir}/flags.map) -m found }`;

export function flagsMap(routes: ReadonlyMap<string, RouteEntry>, ready: boolean): Map<string, string> {
  const flags = new Map<Flag, string>();
  if (ready) flags.set("ready", "1");
  for (const key of routes.keys())
    if (isWildcard(key)) {
      flags.set("wildcards", "1");
      break;
    }
  return flags;
}
