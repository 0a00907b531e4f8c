/** The sub-commands that look and change nothing: `explain`, `diff` and `snapshot`. */
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { compareRoutings } from "../../../../routing/diff";
import { UserError } from "../../../../lib/errors";
import { summarise, toText } from "../../../../routing/diff-format";
import { show } from "../../../../routing/grammar";
import { compare } from "../../../../lib/text";
import { buildRouting } from "../../../../routing/build";
import type { Catalog, RoutingOptions } from "../../../../routing/types";
import { explain, parseAsked } from "../admin/explain";
import { explainText } from "../admin/explain-text";
import { forecast } from "../reconcile/forecast";
import { usage } from "./options";
import type { RenderOptions } from "../config/types";
import { formatSnapshot, parseSnapshot } from "../consul/snapshot";

export interface Command {
  readonly name: "explain" | "diff" | "snapshot";
  /** What it is about: a URL, or files. */
  readonly words: readonly string[];
  readonly json: boolean;
  /** A file to use in place of Consul. */
  readonly snapshot?: string;
  /** The header X-Version. */
  readonly version?: string;
  /** The other options, which are those of the load balancer. */
  readonly options: readonly string[];
}

const wordCounts = { explain: 1, diff: 2, snapshot: 0 } as const;
const isCommand = (word: string | undefined): word is Command["name"] =>
  word !== undefined && Object.hasOwn(wordCounts, word);

/** Undefined: the load balancer itself is meant. */
export function parseCommand(argv: readonly string[]): Command | undefined {
  const [name, ...rest] = argv;
  if (!isCommand(name)) return undefined;
  const words = rest.filter((argument) => !argument.startsWith("--"));
  if (words.length !== wordCounts[name])
    throw new UserError(`${name} takes ${wordCounts[name]} arguments, not ${words.length}.\n${usage}`);
  const own = (option: string): string | undefined =>
    name === "explain"
      ? rest.find((argument) => argument.startsWith(`--${option}=`))?.slice(option.length + 3)
      : undefined;
  const [snapshot, version] = [own("snapshot"), own("version")];
  return {
    name,
    words,
    json: rest.includes("--json"),
    ...(snapshot === undefined ? {} : { snapshot }),
    ...(version === undefined ? {} : { version }),
    options: rest.filter(
      (argument) =>
        argument.startsWith("--") &&
        argument !== "--json" &&
        !(name === "explain" && /^--(snapshot|version)=/.test(argument)),
    ),
  };
}

export interface Surroundings {
  readonly routing: RoutingOptions;
  readonly render: RenderOptions;
  /** What Consul has. */
  readonly catalog: () => Promise<Catalog>;
  /** The admin port of a load balancer, which may run. */
  readonly admin: string;
  /** What it answers, if it does. */
  readonly running: (question: string) => Promise<string | undefined>;
}

/** What the command prints. */
export async function runCommand(command: Command, around: Surroundings): Promise<string> {
  switch (command.name) {
    case "snapshot":
      return formatSnapshot(sorted(await around.catalog()));
    case "explain":
      return explainCommand(command, around);
    case "diff":
      return diffCommand(command, around);
  }
}

/** Asks the load balancer, which knows what it routes by; where none runs, or another Consul is named, Consul. */
async function explainCommand(command: Command, around: Surroundings): Promise<string> {
  const { words, json, snapshot, version, options } = command;
  const [url = ""] = words;
  const asked = parseAsked(url);
  if (!asked.ok) throw new UserError(`${show(url)} ${asked.error}.`);
  const names = (option: string) => options.some((each) => each.startsWith(`--${option}=`));
  const consulAlone = names("consul") && !names("admin");
  if (snapshot === undefined && !consulAlone) {
    const query = { url, ...(version !== undefined && { version }), ...(json && { json: "" }) };
    const answer = await around.running(`/explain?${new URLSearchParams(query).toString()}`);
    if (answer !== undefined) return answer;
  }
  const catalog = snapshot === undefined ? await around.catalog() : await readCatalog(snapshot);
  const request = { ...asked.value, ...(version !== undefined && { version }) };
  const source =
    snapshot !== undefined
      ? "a snapshot has none"
      : `not known, only what Consul says: ${consulAlone ? "no load balancer was asked" : `no load balancer answers at ${around.admin}`} (--admin)`;
  const explanation = explain(request, catalog, buildRouting(catalog, around.routing), { source });
  return json ? toJson(explanation) : toLines(explainText(explanation));
}

async function diffCommand(
  { words: [a = "", b = ""], json }: Command,
  around: Surroundings,
): Promise<string> {
  if (a === "-" && b === "-") throw new UserError("Only one of the snapshots can be the standard input.");
  const before = buildRouting(await readCatalog(a), around.routing);
  const after = buildRouting(await readCatalog(b), { ...around.routing, lastGood: before });
  const differences = compareRoutings(before, after);
  const { plan, sentence } = forecast(before, after, around.render);
  const summary = summarise(differences);
  return json
    ? toJson({ summary, differences, runtime: plan })
    : toLines([...(differences.length === 0 ? [summary] : toText(differences)), `At run time: ${sentence}.`]);
}

async function readCatalog(file: string): Promise<Catalog> {
  const content = await (file === "-" ? text(process.stdin) : readFile(file, "utf8")).catch(
    (error: unknown) => {
      throw new UserError(
        `The snapshot ${show(file)} cannot be read (${error instanceof Error ? error.message : String(error)}): mount it into the container, or give - and pass it on the standard input.`,
      );
    },
  );
  const catalog = parseSnapshot(content);
  if (catalog === undefined)
    throw new UserError(
      `${show(file)} is not a snapshot of this release: make one with the command snapshot.`,
    );
  return catalog;
}

/** The same registry gives the same bytes, so that snapshots can be compared by other means as well. */
const sorted = ({ instances, kv }: Catalog): Catalog => ({
  instances: [...instances].sort((a, b) => compare(a.service, b.service) || compare(a.id, b.id)),
  kv: Object.fromEntries(Object.entries(kv).sort(([a], [b]) => compare(a, b))),
});

const toJson = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
const toLines = (lines: readonly string[]): string => `${lines.join("\n")}\n`;
