/** Runs the engine's own preview, or reports why it cannot run here. */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { stripVTControlCharacters } from "node:util";

import { run, type RunResult } from "../lib/run";
import { loadProject, loadStackFile, qualified, setConfig, stackValues } from "../engine/project";
import type { ReplacedBalancer } from "../templates/haproxy/src/reconcile/forecast";
import { withoutRefresh, type Updated } from "./drift";
import { readEvents, type Gone, type Plan, type Step } from "./events";
import { isOwnBackend, missingAfter, missingBefore, type Situation } from "./missing";
import type { Options } from "./options";

export type Infrastructure =
  | { readonly status: "skipped" }
  | { readonly status: "missing"; readonly missing: readonly string[] }
  | { readonly status: "failed"; readonly output: string }
  /** `text` is the engine's output, unless it went straight to the terminal. `plan` is set with `--json`. */
  | {
      readonly status: "previewed";
      readonly text?: string;
      readonly plan?: Plan;
      /** The load balancers that would be replaced. */
      readonly replaced: readonly ReplacedBalancer[];
      /** Containers of Consul and Registrator that would be replaced. */
      readonly registration: readonly string[];
      /** Services that would be updated in place, with the changed properties. */
      readonly updated: readonly Updated[];
      /** What something else removed and `up` creates again. */
      readonly gone: readonly Gone[];
      /** Why the engine compared with its state and not with what runs; undefined if it did. */
      readonly notRefreshed?: string;
    };

/** Enough for a preview that inspects every node. */
const timeoutMs = 1_800_000;

export async function previewInfrastructure(options: Options, situation: Situation): Promise<Infrastructure> {
  if (options.routesOnly) return { status: "skipped" };
  const missing = await missingBefore(situation);
  if (missing.length > 0) return { status: "missing", missing };
  if (options.engine === "pulumi") await createOwnStack(situation);
  const { format } = options;
  const configFile = await completed(options.stack);
  const first = await runEngine(options, configFile);
  const unreachable =
    options.engine === "pulumi" && first.code !== 0 ? unreachableIn(first.stderr) : undefined;
  const rest = [...options.rest, "--refresh=false"];
  const ended = unreachable === undefined ? first : await runEngine({ ...options, rest }, configFile);
  const notRefreshed = unreachable === undefined ? {} : { notRefreshed: unreachable };
  const { events, stderr } = ended;
  const { changes, steps, gone } = events;
  const stdout = options.engine === "pulumi" ? withoutRefresh(ended.stdout, gone) : ended.stdout;
  if (options.engine === "pulumi" && format === "text") {
    process.stdout.write(stdout);
    process.stderr.write(stderr);
  }
  if (ended.code !== 0) {
    const explained = missingAfter(situation);
    if (explained.length > 0) return { status: "missing", missing: explained };
    return { status: "failed", output: complaintOf({ stdout, stderr }) };
  }
  const shown = {
    text: {},
    json: { plan: { changes, steps } },
    markdown: { text: stripVTControlCharacters(stdout).trimEnd() },
  }[format];
  return {
    status: "previewed",
    replaced: replacedBalancers(steps),
    registration: replacedRegistration(steps),
    updated: updatedServices(steps),
    gone,
    ...notRefreshed,
    ...shown,
  };
}

async function runEngine(
  { engine, stack, format, rest }: Options,
  configFile: string | undefined,
): Promise<RunResult & { readonly events: ReturnType<typeof readEvents> }> {
  const show = format === "text";
  const embedded = engine === "embedded";
  const [program, ...start] = embedded
    ? ([process.execPath, "-r", "./lib/register.cjs", "engine/main.ts", "preview"] as const)
    : // Refresh first, as `up` does.
      (["pulumi", "preview", "--refresh", "--non-interactive", "--diff"] as const);
  const colours = embedded ? [] : ["--color", show && process.stdout.isTTY ? "always" : "never"];
  const common = ["--stack", stack, ...(configFile === undefined ? [] : ["--config-file", configFile])];
  const log = openNameless();
  try {
    const args = [...start, ...colours, ...common, "--event-log", "/dev/fd/3", ...rest];
    // The CLI has this option for Pulumi's Automation API, which sets the variable, too.
    const env = { PULUMI_DEBUG_COMMANDS: "true" };
    const ended = await run(program, args, { timeoutMs, extra: log, env, echo: show && embedded });
    return { ...ended, events: readEvents(readFileSync(log, "utf8")) };
  } finally {
    closeSync(log);
  }
}

/** Opens a file without a name, which ends with its last process: Pulumi logs secrets in plain text. */
function openNameless(): number {
  const folder = mkdtempSync(path.join(tmpdir(), "switchyard-"));
  try {
    return openSync(path.join(folder, "events"), "w+", 0o600);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Errors of our own provider, of Pulumi's and of Docker's client. */
const unreachable =
  /Docker at \S+ (?:did not answer|cannot be reached).*|failed to connect to any docker daemon|error during connect.*|\bssh: .*|\bconnect E(?:NOENT|ACCES|CONNREFUSED|HOSTUNREACH|NETUNREACH|TIMEDOUT)\b.*/;

/**
 * Why a Docker Engine could not be reached, if that is why the preview failed. A pull request is previewed where no key for the
 * machines may be; without a refresh the engine compares with its state and contacts none of them.
 */
export function unreachableIn(stderr: string): string | undefined {
  return unreachable.exec(stderr)?.[0];
}

/** The CLI only previews stacks that exist in its backend. In our own backend, creating an empty one does no harm. */
async function createOwnStack({ deployed, options, env }: Situation): Promise<void> {
  if (deployed.kind !== "never" || deployed.inBackend || !isOwnBackend(env)) return;
  const file = `Pulumi.${options.stack}.yaml`;
  const before = readFileSync(file);
  await run("pulumi", ["stack", "init", options.stack, "--no-select", "--non-interactive"], { timeoutMs });
  // Undo the salt that the CLI writes into the file: only `up` may change it.
  writeFileSync(file, before);
}

/**
 * Writes a copy of the stack file with what `script/up` would add, because a preview must not change the original. Undefined
 * if there is nothing to add.
 */
async function completed(stack: string): Promise<string | undefined> {
  const project = loadProject(path.resolve());
  const own = loadStackFile(project, stack);
  const given = new Set(Object.keys(stackValues(own)).map((key) => qualified(key, project.name)));
  const absent = (key: string) => !given.has(qualified(key, project.name));
  const additions: (readonly [key: string, value: string, secret: boolean])[] = [
    ...(absent("statsPassword") && !own.document.has("secretsprovider")
      ? [["statsPassword", randomBytes(16).toString("hex"), true] as const]
      : []),
    ...bases()
      .filter(
        ([key, value]) => absent(key) && project.config.get(qualified(key, project.name))?.default !== value,
      )
      .map(([key, value]) => [key, value, false] as const),
  ];
  if (additions.length === 0) return undefined;
  const file = path.resolve(".switchyard", `preview.${stack}.yaml`);
  mkdirSync(path.dirname(file), { recursive: true });
  copyFileSync(own.path, file);
  for (const [key, value, secret] of additions)
    await setConfig(project, loadStackFile(project, stack, file), key, value, { secret });
  return file;
}

/** The base images that `script/bootstrap` found on this machine. */
function bases(): (readonly [string, string])[] {
  const file = ".switchyard/bases";
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8")
    .split("\n")
    .flatMap((line) => {
      const [key, value] = line.split(" ");
      return key === undefined || value === undefined ? [] : [[key, value] as const];
    });
}

/** Lines of either engine that say nothing about the change. */
const noise = /^(warning: using pulumi-\S+ from \$PATH |The embedded engine is in use )/;

/** The errors of an engine, which it writes to standard error; without one, all that it wrote. */
export function complaintOf({ stderr, stdout }: Pick<RunResult, "stderr" | "stdout">): string {
  const lines = stderr.split("\n").filter((line) => !noise.test(line));
  const first = lines.findIndex((line) => /^\s*error: /.test(line));
  return (first < 0 ? [...lines, stdout] : lines.slice(first)).join("\n").trim();
}

type Planned = Pick<Step, "operation" | "name" | "type" | "properties">;

const restOf = "rest-";

/** Changes that leave the container as it is. */
const harmless: readonly string[] = ["host", "sshOpts", "restart", "__provider"];

/**
 * The load balancers that would be replaced; index.ts calls them `rest-NODE`. A container that is no rolling one was made by an
 * earlier version.
 */
export function replacedBalancers(steps: readonly Planned[]): ReplacedBalancer[] {
  const replaced = new Map<string, ReplacedBalancer>();
  for (const { operation, type, name, properties } of steps) {
    if (!name.startsWith(restOf)) continue;
    const node = name.slice(restOf.length);
    const rolls =
      type.endsWith(":RollingContainer") &&
      /update|replace/.test(operation) &&
      (properties.length === 0 || properties.some((property) => !harmless.includes(property)));
    const pauses = /^docker:.*Container$/.test(type) && /delete|replace/.test(operation);
    if (rolls || pauses) replaced.set(node, { node, pauses: pauses || replaced.get(node)?.pauses === true });
  }
  return [...replaced.values()];
}

/** The containers of Consul and Registrator that would be replaced; index.ts calls them `consul-NODE` and `registrator-NODE`. */
export function replacedRegistration(steps: readonly Planned[]): string[] {
  const names = steps.flatMap(({ operation, type, name }) =>
    /^docker:.*Container$/.test(type) && /replace/.test(operation) && /^(consul|registrator)-/.test(name)
      ? [name]
      : [],
  );
  return [...new Set(names)];
}

export function updatedServices(steps: readonly Planned[]): Updated[] {
  return steps.flatMap(({ operation, type, name, properties }) =>
    type.endsWith(":SwarmService") && operation === "update" ? [{ name, properties }] : [],
  );
}
