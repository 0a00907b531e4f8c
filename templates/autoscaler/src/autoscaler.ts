/** The autoscaler of one node. */
import { HttpClient } from "../../../lib/http";
import { startAdmin } from "./admin/server";
import type { View } from "./admin/view";
import { Consul } from "./consul/client";
import { Leadership } from "./consul/leadership";
import { Term } from "./leader/term";
import type { Log } from "./log";
import type { Options } from "./options";
import { SwarmClient } from "./swarm/client";
import { Limiter } from "./usage/limiter";
import { Meter } from "./usage/measure";
import { publishUsage } from "./usage/publish";

const nowMs = (): number => performance.now();

/** Runs until the signal, then hands the lock over. */
export async function runAutoscaler(options: Options, log: Log, signal: AbortSignal): Promise<void> {
  const { node, dry, jobsOnly, admin, swarmSocket, limitsSocket, dockerSocket } = options;
  const consul = new Consul(new HttpClient(options.consul), options);
  const leadership = new Leadership(consul, node, log, nowMs);
  const isLeading = (): boolean => leadership.isLeading;
  const swarm = swarmSocket === undefined ? undefined : new SwarmClient(swarmSocket);
  const term =
    swarm === undefined ? undefined : new Term({ node, dry, jobsOnly, consul, swarm, isLeading, log, nowMs });

  const view = (): View => ({
    node,
    dry,
    isLeading: isLeading(),
    leader: leadership.leader,
    problem: isLeading() ? term?.problem : leadership.problem,
    tickSeconds: term?.tickSeconds ?? 0,
    failures: term?.failures ?? 0,
    status: term?.leader?.status,
    history: term?.leader?.history,
  });
  const server = await startAdmin(admin.host, admin.port, view);
  log(
    term === undefined
      ? `measures on ${node}`
      : `runs on ${node}${jobsOnly ? ", for jobs only" : dry ? ", and scales nothing" : ""}`,
  );

  const work: Promise<void>[] = [];
  if (term !== undefined) work.push(leadership.run(signal), term.run(signal));
  if (dockerSocket !== undefined) {
    const meter = new Meter(new HttpClient({ socketPath: dockerSocket }, { maxSockets: 8 }));
    const socket = limitsSocket === undefined ? swarm : new SwarmClient(limitsSocket);
    const limiter = socket === undefined || dry ? undefined : new Limiter({ consul, socket, log });
    work.push(publishUsage({ node, consul, meter, limiter, log }, signal));
  }
  if (work.length === 0) log("has nothing to do: set --swarm or DOCKER_HOST");
  await Promise.all(work);
  if (!signal.aborted)
    await new Promise((resolve) => {
      signal.addEventListener("abort", resolve);
    });
  server.closeAllConnections();
  server.close();
}
