/**
 * `script/preview`: what would change in the infrastructure, as the engine says, and in the routes, as the load balancer's
 * own code says. Run from the project's folder.
 */
import { describeRoutes, planRouting, planStack } from "../components/routing";
import type { Config } from "../components/config/index";
import { messageOf, reportOf, UserError } from "../lib/errors";
import { kv as kvKeys } from "../routing/grammar";
import { emptyStack, type PlannedStack } from "../routing/planned";
import { compareStacks } from "../routing/stack-diff";
import { decodeKv } from "../templates/haproxy/src/consul/decode";
import { forecastStack } from "../templates/haproxy/src/reconcile/forecast";
import { configure, readSources, readSourcesAt, withoutEngine } from "./configured";
import { readDeployed, type Deployed } from "./deployed";
import { previewInfrastructure } from "./infrastructure";
import { parseOptions, usage, type Options } from "./options";
import { toJsonReport, toMarkdownReport, toTextReport, type Report, type RoutesReport } from "./report";

interface Before {
  readonly stack: PlannedStack;
  readonly comparedWith: string;
  readonly notes: readonly string[];
}

async function main(): Promise<boolean> {
  const options = parseOptions(process.argv.slice(2), process.env);
  if (options === "help") {
    console.log(usage);
    return true;
  }
  await withoutEngine();
  const sources = readSources(options.stack);
  const config = configure(options.stack, sources);
  // Refuses what cannot be routed, before an engine is even asked.
  const routing = planRouting(config.services, config.ports);
  const needed = !options.routesOnly || options.base === undefined;
  const deployed: Deployed = needed
    ? await readDeployed(options.stack, options.engine)
    : { kind: "unknown", why: "it was not looked for" };

  const before = await readBefore(options, deployed);
  const kv = options.consul === undefined ? {} : await readKv(options.consul);
  const after = planStack(config.services, config.ports);
  const routes: RoutesReport = {
    comparedWith: before.comparedWith,
    notes: before.notes,
    differences: compareStacks(before.stack, after, kv),
    runtime: forecastStack(before.stack, after, kv),
    routes: describeRoutes(routing),
  };
  const situation = { options, config, deployed, stackFile: sources.stack, env: process.env };
  const infrastructure = await previewInfrastructure(options, situation);
  const report: Report = { stack: options.stack, infrastructure, routing: routes };
  const print = { text: toTextReport, json: toJsonReport, markdown: toMarkdownReport }[options.format];
  process.stdout.write(`${print(report)}\n`);
  return infrastructure.status !== "failed";
}

async function readBefore({ stack, base }: Options, deployed: Deployed): Promise<Before> {
  if (base !== undefined) return readBase(stack, base, `\`${base}\``);
  switch (deployed.kind) {
    case "deployed":
      return { stack: deployed.stack, comparedWith: "what is deployed", notes: [] };
    case "never":
      return { stack: emptyStack, comparedWith: "nothing, since nothing is deployed yet", notes: [] };
    case "unknown": {
      const note = `What is deployed cannot be told: ${deployed.why}.`;
      const { notes, ...found } = await readBase(stack, "HEAD", "the last commit").catch(() => ({
        stack: emptyStack,
        comparedWith: "nothing",
        notes: [],
      }));
      return { ...found, notes: [note, ...notes] };
    }
  }
}

async function readBase(stack: string, ref: string, comparedWith: string): Promise<Before> {
  const sources = await readSourcesAt(stack, ref);
  if (sources === undefined)
    return { stack: emptyStack, comparedWith, notes: [`Stack ${stack} is not there in ${ref}.`] };
  let config: Config;
  try {
    config = configure(stack, sources);
  } catch (error) {
    // A mistake that is being mended must not stand in the way of mending it.
    const note = `Stack ${stack} cannot be read as it is in ${ref}: ${messageOf(error)}`;
    return { stack: emptyStack, comparedWith, notes: [note] };
  }
  return { stack: planStack(config.services, config.ports), comparedWith, notes: [] };
}

async function readKv(consul: string): Promise<Record<string, string>> {
  try {
    const url = new URL(`/v1/kv/${kvKeys.prefix}?recurse`, consul);
    const token = process.env["CONSUL_HTTP_TOKEN"];
    const response = await fetch(url, {
      headers: token === undefined ? {} : { "X-Consul-Token": token },
      signal: AbortSignal.timeout(10_000),
    });
    if (response.status === 404) return {};
    if (!response.ok) throw new Error(`it answers ${response.status}`);
    return decodeKv(await response.json());
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new UserError(
      `--consul ${consul} cannot be read (${messageOf(cause)}): give the address of its HTTP API, as in http://localhost:8500.`,
    );
  }
}

void main()
  .catch((error: unknown) => {
    console.error(reportOf(error));
    return false;
  })
  // Clients and keep-alive connections must not hold the process, nor it end before all is written.
  .then((ok) => process.stdout.write("", () => process.exit(ok ? 0 : 1)));
