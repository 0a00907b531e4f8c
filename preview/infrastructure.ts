/** Runs the engine's own preview, or reports why it cannot run here. */
import { randomBytes } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { stripVTControlCharacters } from "node:util";

import { run, type RunResult } from "../lib/run";
import { loadProject, loadStackFile, qualified, setConfig, stackValues } from "../engine/project";
import type { ReplacedBalancer } from "../templates/haproxy/src/reconcile/forecast";
import { namedIn, readGone, stepHeading, stepUrn, withoutRefresh, type Gone } from "./drift";
import { isOwnBackend, missingAfter, missingBefore, type Situation } from "./missing";
import type { Options } from "./options";

/** A resource that would change, with the names of its changed properties. Values are left out: they may be secret. */
export interface Step {
  readonly operation: string;
  readonly urn: string;
  readonly type: string;
  readonly name: string;
  readonly properties: readonly string[];
}

export type Infrastructure =
  | { readonly status: "skipped" }
  | { readonly status: "missing"; readonly missing: readonly string[] }
  | { readonly status: "failed"; readonly output: string }
  /** `text` is the engine's output, unless it went straight to the terminal. `plan` is set with `--json`. */
  | {
      readonly status: "previewed";
      readonly text?: string;
      readonly plan?: JsonPlan;
      /** The load balancers that would be replaced. */
      readonly replaced: readonly ReplacedBalancer[];
      /** What something else removed and `up` creates again. */
      readonly gone: readonly Gone[];
      /** Why the engine compared with its state and not with what runs; undefined if it did. */
      readonly notRefreshed?: string;
    };

export interface JsonPlan {
  readonly changes: Readonly<Record<string, number>>;
  readonly steps: readonly Step[];
}

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
  const unreachable = options.engine === "pulumi" && first.code !== 0 ? unreachableIn(first) : undefined;
  const rest = [...options.rest, "--refresh=false"];
  const ended = unreachable === undefined ? first : await runEngine({ ...options, rest }, configFile);
  const notRefreshed = unreachable === undefined ? {} : { notRefreshed: unreachable };
  if (options.engine === "pulumi" && format === "text") {
    process.stdout.write(ended.stdout);
    process.stderr.write(ended.stderr);
  }
  const plan = format === "json" ? readPlan(ended.stdout) : undefined;
  if (ended.code !== 0) {
    const explained = missingAfter(situation);
    if (explained.length > 0) return { status: "missing", missing: explained };
    return { status: "failed", output: plan?.problem ?? complaintOf(ended) };
  }
  if (format === "json" && plan !== undefined) {
    const { changes, steps, gone } = plan;
    const replaced = replacedBalancers(steps);
    const all = [...gone, ...readGone(ended.stderr)];
    return { status: "previewed", plan: { changes, steps }, replaced, gone: all, ...notRefreshed };
  }
  const text = stripVTControlCharacters(ended.stdout).trimEnd();
  const replaced = replacedBalancers(readSteps(text));
  const shown = format === "text" ? {} : { text };
  return { status: "previewed", replaced, gone: readGone(text), ...notRefreshed, ...shown };
}

async function runEngine(
  { engine, stack, format, rest }: Options,
  configFile: string | undefined,
): Promise<RunResult> {
  const common = ["--stack", stack, ...(configFile === undefined ? [] : ["--config-file", configFile])];
  const json = format === "json" ? ["--json"] : [];
  const show = format === "text";
  if (engine === "embedded") {
    const program = ["-r", "./lib/register.cjs", "engine/main.ts"];
    return run(process.execPath, [...program, "preview", ...common, ...json, ...rest], {
      echo: show,
      timeoutMs,
    });
  }
  const colours = show && process.stdout.isTTY ? "always" : "never";
  const how = json.length > 0 ? json : ["--diff", "--color", colours];
  // Refresh first, as `up` does.
  const args = ["preview", "--refresh", "--non-interactive", ...common, ...how, ...rest];
  const ended = await run("pulumi", args, { timeoutMs });
  return json.length > 0 ? ended : { ...ended, stdout: withoutRefresh(ended.stdout) };
}

/** Errors of our own provider, of Pulumi's and of Docker's client. */
const unreachable =
  /Docker at \S+ (?:did not answer|cannot be reached).*|failed to connect to any docker daemon|error during connect.*/;

/**
 * Why a Docker Engine could not be reached, if that is why the preview failed. A pull request is previewed where no key for the
 * machines may be; without a refresh the engine compares with its state and contacts none of them.
 */
export function unreachableIn({ stdout, stderr }: Pick<RunResult, "stdout" | "stderr">): string | undefined {
  return unreachable.exec(readPlan(stdout)?.problem ?? stderr)?.[0];
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

interface RawStep {
  readonly op?: string;
  readonly operation?: string;
  readonly urn?: string;
  readonly diffReasons?: readonly string[] | null;
  readonly diff?: Readonly<Record<string, unknown>>;
  readonly oldState?: { readonly inputs?: Inputs };
  readonly newState?: { readonly inputs?: Inputs };
}

type Inputs = Readonly<Record<string, unknown>>;

interface RawPlan {
  readonly steps?: readonly RawStep[];
  readonly changeSummary?: Readonly<Record<string, number>>;
  readonly diagnostics?: readonly { readonly severity?: string; readonly message?: string }[];
}

/** Parses the output of either engine with `--json`; undefined if it is not JSON. */
export function readPlan(
  text: string,
): (JsonPlan & { readonly gone: readonly Gone[]; readonly problem?: string }) | undefined {
  let raw: RawPlan;
  try {
    raw = JSON.parse(text) as RawPlan;
  } catch {
    return undefined;
  }
  const problems = (raw.diagnostics ?? []).filter(({ severity }) => severity === "error");
  const steps = raw.steps ?? [];
  const refreshed = steps.filter(({ op }) => op === "refresh").map(({ urn }) => urn);
  return {
    changes: raw.changeSummary ?? {},
    steps: steps.filter(({ op }) => op !== "same" && op !== "refresh").map(toStep),
    gone: steps
      .filter(({ op, urn }) => op === "create" && refreshed.includes(urn))
      .map(({ urn = "" }) => namedIn(urn)),
    ...(problems.length === 0
      ? {}
      : { problem: problems.map(({ message }) => (message ?? "").trim()).join("\n") }),
  };
}

type Named = Pick<Step, "operation" | "name" | "type" | "properties">;

/**
 * The steps in the text of either engine: `~ docker:…:Container: (update)`, its URN and its properties, or
 * ` ~  docker:Container rest update [diff: image]`.
 */
export function readSteps(text: string): Named[] {
  const steps: (Named & { readonly properties: string[] })[] = [];
  let operation = "";
  for (const line of text.split("\n")) {
    const [, type = "", name = "", done, changed] =
      /^ \S+ +(\S+) (\S+) (create|update|replace|delete)(?: \[diff: (.*)\])?$/.exec(line) ?? [];
    if (done !== undefined)
      steps.push({ operation: done, type, name, properties: changed?.split(", ") ?? [] });
    operation = stepHeading.exec(line)?.[1] ?? operation;
    const [, urn] = stepUrn.exec(line) ?? [];
    if (urn !== undefined) steps.push({ ...toStep({ operation, urn }), properties: [] });
    const [, property] = /^ +[~+-] (\w+) *: /.exec(line) ?? [];
    if (property !== undefined) steps.at(-1)?.properties.push(property);
  }
  return steps;
}

const restOf = "rest-";

/** Changes that leave the container as it is. */
const harmless: readonly string[] = ["host", "sshOpts", "restart", "__provider"];

/**
 * The load balancers that would be replaced; index.ts calls them `rest-NODE`. A container that is no rolling one was made by an
 * earlier version.
 */
export function replacedBalancers(steps: readonly Named[]): ReplacedBalancer[] {
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

function toStep({ op, operation, urn = "", diffReasons, diff, oldState, newState }: RawStep): Step {
  return {
    operation: op ?? operation ?? "",
    urn,
    ...namedIn(urn),
    properties: diffReasons ?? (diff ? Object.keys(diff) : changedInputs(oldState?.inputs, newState?.inputs)),
  };
}

/** For dynamic providers, which do not report what changes. */
function changedInputs(old: Inputs | undefined, now: Inputs | undefined): string[] {
  if (old === undefined || now === undefined) return [];
  const differs = (key: string) => JSON.stringify(old[key]) !== JSON.stringify(now[key]);
  return [...new Set([...Object.keys(old), ...Object.keys(now)])]
    .filter((key) => key !== "__provider" && differs(key))
    .sort();
}
