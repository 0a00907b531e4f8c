/** A preview in words: for a terminal, for programs, and as a comment on a pull request. Pure. */
import type { Difference } from "../routing/diff";
import { summarise, toMarkdown, toText } from "../routing/diff-format";
import type { StackForecast } from "../templates/haproxy/src/reconcile/forecast";
import type { Infrastructure } from "./infrastructure";

export interface RoutesReport {
  /** What the routes are compared with: "what is deployed". */
  readonly comparedWith: string;
  /** What the reader should know of the comparison, a sentence each. */
  readonly notes: readonly string[];
  readonly differences: readonly Difference[];
  readonly runtime: StackForecast;
  /** Every URL and port as it would be, and what answers there. */
  readonly routes: Readonly<Record<string, string>>;
}

export interface Report {
  readonly stack: string;
  readonly infrastructure: Infrastructure;
  readonly routing: RoutesReport;
}

/** Why there is nothing to see of the infrastructure; undefined where there is. */
function absence(infrastructure: Infrastructure): string[] | undefined {
  switch (infrastructure.status) {
    case "skipped":
      return ["Not previewed: only the routes were asked for."];
    case "missing":
      return ["Not previewed. Missing here:", ...infrastructure.missing.map((what) => `- ${what}`)];
    default:
      return undefined;
  }
}

/** For a terminal; the engine's own lines have gone there already. */
export function toTextReport({ infrastructure, routing }: Report): string {
  const { comparedWith, notes, differences, runtime } = routing;
  const missing = absence(infrastructure);
  return [
    ...(missing === undefined ? [] : ["Infrastructure:", ...missing.map((line) => `  ${line}`)]),
    `Routes, compared with ${comparedWith}: ${summarise(differences)}`,
    ...notes.map((note) => `  ${note}`),
    ...toText(differences).map((line) => `  ${line}`),
    `At run time: ${runtime.sentence}.`,
  ].join("\n");
}

/** For programs; docs/team.md describes the shape. */
export function toJsonReport({ stack, infrastructure, routing }: Report): string {
  const summary = summarise(routing.differences);
  return JSON.stringify({ stack, infrastructure, routing: { summary, ...routing } }, null, 2);
}

/** By which the comment of a stack is found again. */
export const marker = (stack: string): string => `<!-- switchyard preview of ${stack} -->`;

/** GitHub takes comments of up to 65,536 characters. */
const longestDiff = 40_000;
const longestTables = 20_000;

/** For a pull request. */
export function toMarkdownReport({ stack, infrastructure, routing }: Report): string {
  const { comparedWith, notes, differences, runtime } = routing;
  const tables = cut(toMarkdown(differences), longestTables);
  const parts = [
    [marker(stack), `### Preview of stack \`${stack}\``],
    [`**Routes**, compared with ${comparedWith}: ${summarise(differences)}.`],
    ...notes.map((note) => [`> ${note}`]),
    ...(tables.length === 0 ? [] : [tables]),
    [`**At run time**: ${escape(runtime.sentence)}.`],
    ...infrastructureParts(infrastructure),
  ];
  return parts.map((lines) => lines.join("\n")).join("\n\n");
}

function infrastructureParts(infrastructure: Infrastructure): string[][] {
  const missing = absence(infrastructure);
  if (missing !== undefined) {
    const [first = "", ...others] = missing;
    return [[`**Infrastructure**: ${first}`], ...(others.length === 0 ? [] : [others.map(escape)])];
  }
  if (infrastructure.status === "failed")
    return [["**Infrastructure**: the preview failed."], fenced(infrastructure.output)];
  const text = infrastructure.status === "previewed" ? (infrastructure.text ?? "") : "";
  return [
    [`**Infrastructure**: ${countsOf(text)}`],
    ["<details><summary>Pulumi's diff</summary>", "", ...fenced(text), "", "</details>"],
  ];
}

/** What stands under "Resources:" at the end of what either engine prints, on one line. */
function countsOf(text: string): string {
  const [, counts = ""] = /^Resources:\s*([\s\S]*)$/m.exec(text) ?? [];
  const lines = counts.split("\n").map((line) => line.trim());
  const end = lines.indexOf("");
  return lines
    .slice(0, end === -1 ? undefined : end)
    .join(", ")
    .replaceAll(/\s+/g, " ");
}

/** Nothing in the text may end the fence. */
function fenced(text: string): string[] {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = "`".repeat(longest + 1);
  return [`${fence}diff`, ...cut(marked(text).split("\n"), longestDiff), fence];
}

/** GitHub colours the lines of a diff by their first character; engines indent theirs. */
const marked = (text: string): string => text.replaceAll(/^( *)([+-])(?=[ +-])/gm, "$2$1");

function cut(lines: readonly string[], limit: number): string[] {
  const kept: string[] = [];
  let length = 0;
  for (const line of lines) {
    length += line.length + 1;
    if (length > limit)
      return [...kept, "", `… and ${lines.length - kept.length} more lines: run script/preview to see all.`];
    kept.push(line);
  }
  return kept;
}

/** A sentence may repeat names of services, none of which may be markup. */
const escape = (text: string): string =>
  text.replaceAll(/[&<>\\`*_[\]|@#~]/g, (character) => `&#${character.charCodeAt(0)};`);
