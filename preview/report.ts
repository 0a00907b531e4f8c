/** Formats a preview for a terminal, as JSON, and as a comment on a pull request. Pure. */
import type { Difference } from "../routing/diff";
import { escapeMarkdown, summarise, toMarkdown, toText } from "../routing/diff-format";
import { escapeInvisible, escapeLines } from "../lib/text";
import type { StackForecast } from "../templates/haproxy/src/reconcile/forecast";
import { driftSentence } from "./drift";
import type { Infrastructure } from "./infrastructure";

export interface RoutesReport {
  /** What the routes are compared with, such as "the deployed stack". */
  readonly comparedWith: string;
  /** What the reader should know about the comparison, one sentence each. */
  readonly notes: readonly string[];
  readonly differences: readonly Difference[];
  readonly runtime: StackForecast;
  /** Every URL and port after the change, with the service that answers there. */
  readonly routes: Readonly<Record<string, string>>;
}

export interface Report {
  readonly stack: string;
  readonly infrastructure: Infrastructure;
  readonly routing: RoutesReport;
}

/** Why the infrastructure was not previewed; undefined if it was. */
function absence(infrastructure: Infrastructure): string[] | undefined {
  switch (infrastructure.status) {
    case "skipped":
      return ["Not previewed, because of --routes-only."];
    case "missing":
      return ["Not previewed. Missing here:", ...infrastructure.missing.map((what) => `- ${what}`)];
    default:
      return undefined;
  }
}

/** For a terminal, which already shows the engine's own output. */
export function toTextReport({ infrastructure, routing }: Report): string {
  const { comparedWith, notes, differences, runtime } = routing;
  const missing = absence(infrastructure);
  const lines = [
    ...(missing === undefined ? [] : ["Infrastructure:", ...missing.map((line) => `  ${line}`)]),
    `Routes, compared with ${comparedWith}: ${summarise(differences)}`,
    ...notes.map((note) => `  ${note}`),
    ...toText(differences).map((line) => `  ${line}`),
    `At run time: ${runtime.sentence}.`,
  ];
  return escapeLines(lines.join("\n"));
}

/** As JSON; docs/team.md describes the format. */
export function toJsonReport({ stack, infrastructure, routing }: Report): string {
  const summary = summarise(routing.differences);
  return JSON.stringify({ stack, infrastructure, routing: { summary, ...routing } }, null, 2);
}

/** Identifies the comment of a stack. */
export const marker = (stack: string): string => `<!-- switchyard preview of ${stack} -->`;

/** GitHub allows comments of up to 65,536 characters. */
const longestDiff = 40_000;
const longestTables = 20_000;

/** As Markdown, for a pull request. */
export function toMarkdownReport({ stack, infrastructure, routing }: Report): string {
  const { comparedWith, notes, differences, runtime } = routing;
  const tables = cut(toMarkdown(differences), longestTables);
  const parts = [
    [marker(stack), `### Preview of stack \`${stack}\``],
    [`**Routes**, compared with ${prose(comparedWith)}: ${summarise(differences)}.`],
    ...notes.map((note) => [`> ${prose(note)}`]),
    ...(tables.length === 0 ? [] : [tables]),
    [`**At run time**: ${prose(runtime.sentence)}.`],
    ...infrastructureParts(infrastructure),
  ];
  return parts.map((lines) => lines.join("\n")).join("\n\n");
}

function infrastructureParts(infrastructure: Infrastructure): string[][] {
  const missing = absence(infrastructure);
  if (missing !== undefined) {
    const [first = "", ...others] = missing;
    return [[`**Infrastructure**: ${first}`], ...(others.length === 0 ? [] : [others.map(prose)])];
  }
  if (infrastructure.status === "failed")
    return [["**Infrastructure**: the preview failed."], fenced(infrastructure.output, "")];
  const { text = "", gone = [] } = infrastructure.status === "previewed" ? infrastructure : {};
  const drift = driftSentence(gone);
  return [
    [`**Infrastructure**: ${prose(countsOf(text))}`],
    ...(drift === undefined ? [] : [[`> ${prose(drift)}.`]]),
    ["<details><summary>Pulumi's diff</summary>", "", ...fenced(marked(text), "diff"), "", "</details>"],
  ];
}

/** The summary under "Resources:" at the end of either engine's output, on one line. */
function countsOf(text: string): string {
  const [, counts = ""] = /^Resources:\s*([\s\S]*)$/m.exec(text) ?? [];
  const lines = counts.split("\n").map((line) => line.trim());
  const end = lines.indexOf("");
  return lines
    .slice(0, end === -1 ? undefined : end)
    .join(", ")
    .replaceAll(/\s+/g, " ");
}

/** A code block whose fence is longer than any run of backticks in the text. */
function fenced(text: string, language: string): string[] {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = "`".repeat(longest + 1);
  return [`${fence}${language}`, ...cut(text.split("\n"), longestDiff), fence];
}

/**
 * Moves +, - and the +- of a replacement to the start of the line, by which GitHub colours a diff; engines indent them. Two
 * signs stand before a resource's type: the heading `--outputs:--` is no change.
 */
const marked = (text: string): string =>
  text.replaceAll(/^( *)([+-](?= )|[+-]{2}(?=[\w-]+:\S+: \())/gm, "$2$1");

function cut(lines: readonly string[], limit: number): string[] {
  const kept: string[] = [];
  let length = 0;
  for (const line of lines) {
    length += line.length + 1;
    if (length > limit)
      return [
        ...kept,
        "",
        `… and ${lines.length - kept.length} more lines: run script/preview to see them all.`,
      ];
    kept.push(line);
  }
  return kept;
}

/** Escapes a sentence on one line, except for code in backticks: nothing is markup there. */
const prose = (text: string): string =>
  text
    .replaceAll(/\s+/g, " ")
    .split(/((?<!`)`[^`]+`(?!`))/)
    .map((part, index) => (index % 2 === 0 ? escapeMarkdown(part) : escapeInvisible(part)))
    .join("");
