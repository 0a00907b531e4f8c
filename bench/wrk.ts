import { spawnSync } from "node:child_process";

import { run } from "../test/e2e/stack";

/** The result of one burst of requests. */
export interface Burst {
  readonly perSecond: number;
  readonly requests: number;
  readonly p99Ms: number;
  readonly failed: number;
}

const milliseconds: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1_000, m: 60_000 };

/** Sends as many requests as one core can for `seconds`. */
export async function wrk(
  url: string,
  script: string,
  { core, seconds = 4, connections = 32 }: { core: number; seconds?: number; connections?: number },
): Promise<Burst> {
  const load = ["-t1", `-c${connections}`, `-d${seconds}s`, "--latency", "-s", script, url];
  const { code, output } = await run("taskset", ["-c", String(core), "wrk", ...load]);
  if (code !== 0) throw new Error(`wrk: ${output}`);
  return parse(output);
}

/** wrk prints its version and then exits with an error. */
export const wrkVersion = (): string =>
  /\d+\.\d+\.\d+/.exec(spawnSync("wrk", ["-v"], { encoding: "utf8" }).stdout)?.[0] ?? "unknown";

function parse(output: string): Burst {
  const number = (pattern: RegExp): number => Number(pattern.exec(output)?.[1] ?? 0);
  const [, p99, unit] = /^\s+99%\s+([\d.]+)(us|ms|s|m)$/m.exec(output) ?? [];
  const sockets = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(output);
  return {
    perSecond: number(/Requests\/sec:\s+([\d.]+)/),
    requests: number(/(\d+) requests in/),
    p99Ms: Number(p99) * (milliseconds[unit ?? ""] ?? NaN),
    failed:
      number(/Non-2xx or 3xx responses: (\d+)/) +
      (sockets?.slice(1).reduce((sum, each) => sum + Number(each), 0) ?? 0),
  };
}

/** No name is a prefix of another: the ACLs of 2015 would match the shorter one. */
export const routeName = (index: number): string => `r${String(index).padStart(5, "0")}`;

/**
 * A script for wrk that requests `hot` of the routes, evenly spread among all, at random. The number of routes in use
 * stays the same: with more routes, the routing grows but not the number of connections to instances.
 */
export const randomRoutes = (count: number, hot: number): string => `
local requests = {}
init = function(args)
  math.randomseed(1)
  for i = 0, ${Math.min(count, hot) - 1} do
    requests[i] = wrk.format("GET", string.format("/r%05d", math.floor((i + 0.5) * ${count / Math.min(count, hot)})))
  end
end
request = function() return requests[math.random(0, ${Math.min(count, hot) - 1})] end
`;
