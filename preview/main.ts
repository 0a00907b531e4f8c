/**
 * `script/preview`: shows what would change in the infrastructure, according to the engine, and in the routes, according to
 * the load balancer's own code. Runs in the project's folder.
 */
import { readFileSync } from "node:fs";

import { describeRoutes, planRouting, planStack } from "../components/routing";
import type { Config } from "../components/config/index";
import { messageOf, reportOf, UserError } from "../lib/errors";
import { some } from "../lib/text";
import { kv as kvKeys } from "../routing/grammar";
import { emptyStack, type PlannedStack } from "../routing/planned";
import { compareStacks, withCounts } from "../routing/stack-diff";
import { decodeKv } from "../templates/haproxy/src/consul/decode";
import { forecastStack } from "../templates/haproxy/src/reconcile/forecast";
import { configure, readSources, readSourcesAt, withoutEngine } from "./configured";
import { readDeployed, type Deployed } from "./deployed";
import { driftNotes, stillDeployed } from "./drift";
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
  const kv = options.consul === undefined ? {} : await readKv(options.consul);
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

/** How long Consul may take to answer. */
const consulTimeoutMs = 10_000;

async function readKv(consul: string): Promise<Record<string, string>> {
  try {
    const { CONSUL_HTTP_TOKEN_FILE: file, CONSUL_HTTP_TOKEN: given } = process.env;
    const token = file ? readFileSync(file, "utf8").trim() : given;
    const ask = (path: string) =>
      fetch(new URL(`/v1/kv/${path}`, consul), {
        headers: token ? { "X-Consul-Token": token } : {},
        signal: AbortSignal.timeout(consulTimeoutMs),
      });
    const response = await ask(`${kvKeys.prefix}?recurse`);
    // Without the right to read keys, Consul says that there are none; only of a single one does it say what is wrong.
    const { status } = response.status === 404 ? await ask(kvKeys.maxconn) : response;
    if (status === 403) {
      throw new UserError(
        `--consul ${consul} does not let this token read the settings: put the operator's token, which ` +
          `script/outputs --show-secrets prints, into CONSUL_HTTP_TOKEN, or a file with it into CONSUL_HTTP_TOKEN_FILE.`,
      );
    }
    if (response.status === 404) return {};
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    return decodeKv(await response.json());
  } catch (error) {
    if (error instanceof UserError) throw error;
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new UserError(
      `--consul ${consul} cannot be read (${messageOf(cause)}): give the URL of its HTTP API, such as http://localhost:8500.`,
    );
  }
}

void main()
  .catch((error: unknown) => {
    console.error(reportOf(error));
    return false;
  })
  // Exit despite open keep-alive connections, but only after all output is written.
  .then((ok) => process.stdout.write("", () => process.exit(ok ? 0 : 1)));
