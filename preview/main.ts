/**
 * `script/preview`: shows what would change in the infrastructure, according to the engine, and in the routes, according to
 * the load balancer's own code. Runs in the project's folder.
 */
import { describeRoutes, planRouting, planStack } from "../components/routing";
import type { Config } from "../components/config/index";
import { messageOf, reportOf } from "../lib/errors";
import { some } from "../lib/text";
import { emptyStack, type PlannedStack } from "../routing/planned";
import { compareStacks, withCounts } from "../routing/stack-diff";
import { forecastStack } from "../templates/haproxy/src/reconcile/forecast";
import { configure, readSources, readSourcesAt, withoutEngine } from "./configured";
import { nothing, readConsul } from "./consul";
import { readDeployed, type Deployed } from "./deployed";
import { driftNotes, stillDeployed } from "./drift";
import { limitNotes } from "./limits";
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
  // Rejects services that cannot be routed before an engine runs.
  const routing = planRouting(config.services, config.ports);
  const needed = !options.routesOnly || options.base === undefined;
  const deployed: Deployed = needed
    ? await readDeployed(options.stack, options.engine)
    : { kind: "unknown", why: "it was not read" };

  const before = await readBefore(options, deployed);
  const { kv, status } = options.consul === undefined ? nothing : await readConsul(options.consul);
  const after = planStack(config.services, config.ports);
  const situation = { options, config, deployed, stackFile: sources.stack, env: process.env };
  const infrastructure = await previewInfrastructure(options, situation);
  const { replaced, registration, updated, gone, notRefreshed } =
    infrastructure.status === "previewed"
      ? infrastructure
      : { replaced: [], registration: [], updated: [], gone: [] };
  const actual =
    options.base === undefined && deployed.kind === "deployed" ? stillDeployed(before.stack, gone) : before;
  const routes: RoutesReport = {
    comparedWith: before.comparedWith,
    notes: [
      ...actual.notes,
      ...limitNotes(status, config.services),
      ...(options.base === undefined ? driftNotes(actual.stack, after, updated) : []),
      ...(registration.length === 0
        ? []
        : [
            `${some(registration)} will be replaced: what starts or stops meanwhile is routed a few seconds later.`,
          ]),
      ...(notRefreshed === undefined
        ? []
        : [
            `Compared with the state and not with what runs, because a machine is out of reach: ${notRefreshed}`,
          ]),
    ],
    differences: compareStacks(actual.stack, after, kv),
    runtime: forecastStack(...withCounts(actual.stack, after), kv, replaced),
    routes: describeRoutes(routing, config.services),
  };
  const report: Report = { stack: options.stack, infrastructure, routing: routes };
  const print = { text: toTextReport, json: toJsonReport, markdown: toMarkdownReport }[options.format];
  process.stdout.write(`${print(report)}\n`);
  return infrastructure.status !== "failed";
}

async function readBefore({ stack, base }: Options, deployed: Deployed): Promise<Before> {
  if (base !== undefined) return readBase(stack, base, `\`${base}\``);
  switch (deployed.kind) {
    case "deployed":
      return { stack: deployed.stack, comparedWith: "the deployed stack", notes: [] };
    case "never":
      return {
        stack: emptyStack,
        comparedWith: "an empty stack, because nothing is deployed yet",
        notes: [],
      };
    case "unknown": {
      const note = `The deployed stack is unknown: ${deployed.why}.`;
      const { notes, ...found } = await readBase(stack, "HEAD", "the last commit").catch(() => ({
        stack: emptyStack,
        comparedWith: "an empty stack",
        notes: [],
      }));
      return { ...found, notes: [note, ...notes] };
    }
  }
}

async function readBase(stack: string, ref: string, comparedWith: string): Promise<Before> {
  const sources = await readSourcesAt(stack, ref);
  if (sources === undefined)
    return { stack: emptyStack, comparedWith, notes: [`Stack ${stack} does not exist in ${ref}.`] };
  let config: Config;
  try {
    config = configure(stack, sources);
  } catch (error) {
    // A mistake in the base must not block the change that fixes it.
    const note = `Stack ${stack} in ${ref} cannot be read: ${messageOf(error)}`;
    return { stack: emptyStack, comparedWith, notes: [note] };
  }
  return { stack: planStack(config.services, config.ports), comparedWith, notes: [] };
}

void main()
  .catch((error: unknown) => {
    console.error(reportOf(error));
    return false;
  })
  // Exit despite open keep-alive connections, but only after all output is written.
  .then((ok) => process.stdout.write("", () => process.exit(ok ? 0 : 1)));
