/** Formats the differences between two routings: for terminals, and as Markdown for pull requests. Pure. */
import type { Difference, InstanceCounts, InstancesDifference, RouteSide } from "./diff";
import type { OptionValue } from "./option";
import { escapeInvisible, plural } from "../lib/text";
import { show } from "./grammar";
import { leadsTo } from "./planned";

type Sign = "+" | "-" | "~" | "!";

interface Line {
  readonly sign: Sign;
  /** The URL, port, service or setting. */
  readonly subject: string;
  readonly before?: string;
  readonly after?: string;
  readonly note?: string;
}

const instances = ({ serving, notPassing }: InstanceCounts): string =>
  plural(serving, "instance") + (notPassing === 0 ? "" : `, ${notPassing} not passing`);

const none = instances({ serving: 0, notPassing: 0 });

const value = (given: OptionValue | undefined): string => (given === undefined ? "not set" : String(given));

function routeNote(before: RouteSide | undefined, after: RouteSide | undefined): string | undefined {
  const notes = [
    ...(after?.choice === undefined || after.choice === before?.choice ? [] : [after.choice]),
    ...(before === undefined || after === undefined || before.stripPrefix === after.stripPrefix
      ? []
      : [after.stripPrefix ? "the prefix is now stripped" : "the prefix is now kept"]),
  ];
  return notes.length === 0 ? undefined : notes.join("; ");
}

/** Changes of instances that do not show in their number. */
function instancesNote({ added, removed, reweighted }: InstancesDifference): string | undefined {
  const notes = [
    ...(added.length > 0 && removed.length > 0 ? [`${added.length} new, ${removed.length} gone`] : []),
    ...reweighted.map(({ server, before, after }) => `${server} weighs ${after}, was ${before}`),
  ];
  return notes.length === 0 ? undefined : notes.join("; ");
}

const sign = (change: string): Sign => (change === "appears" ? "+" : change === "goes" ? "-" : "~");

function toLine(difference: Difference): Line {
  switch (difference.kind) {
    case "route": {
      const before = "before" in difference ? difference.before : undefined;
      const after = "after" in difference ? difference.after : undefined;
      const note = routeNote(before, after);
      return {
        sign: sign(difference.change),
        subject: difference.url,
        ...(before === undefined ? {} : { before: leadsTo(before.targets) }),
        ...(after === undefined ? {} : { after: leadsTo(after.targets) }),
        ...(note === undefined ? {} : { note }),
      };
    }
    case "port": {
      const { before, after } = difference;
      return {
        sign: sign(difference.change),
        subject: `TCP port ${difference.port}`,
        ...(before === undefined ? {} : { before }),
        ...(after === undefined ? {} : { after }),
      };
    }
    case "instances": {
      const note = instancesNote(difference);
      const [before, after] = [instances(difference.before), instances(difference.after)];
      return {
        sign: before === none ? "+" : after === none ? "-" : "~",
        subject: difference.service,
        ...(before === none ? {} : { before }),
        ...(after === none ? {} : { after }),
        ...(note === undefined ? {} : { note }),
      };
    }
    case "option": {
      const { service, option, before, after } = difference;
      return { sign: "~", subject: `${service} ${option}`, before: value(before), after: value(after) };
    }
    case "setting": {
      const { setting, before, after } = difference;
      return { sign: "~", subject: setting, before: String(before), after: String(after) };
    }
    case "problem": {
      const { change, level, subject, message } = difference;
      return change === "appears"
        ? { sign: "!", subject: shown(subject), after: level, note: message }
        : { sign: "-", subject: shown(subject), before: level, note: message };
    }
  }
}

/** Escapes a name: quarantined services may have any name. */
const shown = (subject: string): string => (/^[\x21-\x7e]{1,120}$/.test(subject) ? subject : show(subject));

/** One line per difference, for a terminal. */
export function toText(differences: readonly Difference[]): string[] {
  return differences.map((difference) => {
    const { sign, subject, before, after, note } = toLine(difference);
    if (difference.kind === "problem")
      return `${sign} ${difference.change === "appears" ? "" : "no longer "}${difference.level}: ${difference.message}`;
    const arrow = difference.kind === "route" || difference.kind === "port" ? " -> " : ": ";
    const to = after ?? before ?? "";
    const was = before === undefined || after === undefined || before === after ? "" : `, was ${before}`;
    return `${sign} ${subject}${arrow}${to}${was}${note === undefined ? "" : ` (${note})`}`;
  });
}

/**
 * Escapes everything that would end the line or the cell, start markup or mention a person. GitHub looks for mentions after it has
 * decoded entities, so a zero-width space follows the @ of one.
 */
export const escapeMarkdown = (text: string): string =>
  escapeInvisible(text.replaceAll(/\s+/g, " "))
    .replaceAll(/[&<>\\`*_[\]|@#~!]/g, (character) => `&#${character.charCodeAt(0)};`)
    .replaceAll(/(?<!\w)&#64;(?=\w)/g, "$&&#8203;");

const words: Readonly<Record<Sign, string>> = { "+": "new", "-": "gone", "~": "changed", "!": "problem" };

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [row(head), row(head.map(() => "---")), ...rows.map((each) => row(each.map(escapeMarkdown)))];
}

/** GitHub Markdown, by line: a table of URLs and ports, one of services and settings, a list of problems. */
export function toMarkdown(differences: readonly Difference[]): string[] {
  const rows = (...kinds: Difference["kind"][]) =>
    differences
      .filter(({ kind }) => kinds.includes(kind))
      .map(toLine)
      .map(({ sign, subject, before, after, note }) => [
        words[sign],
        subject,
        before ?? "",
        after ?? "",
        note ?? "",
      ]);
  const urls = rows("route", "port");
  const services = rows("instances", "option", "setting");
  const problems = differences.flatMap((difference) =>
    difference.kind !== "problem"
      ? []
      : [
          `- **${difference.change === "appears" ? difference.level : `no longer ${difference.level}`}**: ${escapeMarkdown(difference.message)}`,
        ],
  );
  const parts = [
    ...(urls.length === 0 ? [] : [table(["", "URL", "before", "after", "why"], urls)]),
    ...(services.length === 0 ? [] : [table(["", "service", "before", "after", ""], services)]),
    ...(problems.length === 0 ? [] : [problems]),
  ];
  return parts.flatMap((part, index) => (index === 0 ? part : ["", ...part]));
}

/** A summary as a clause: "2 URLs appear, 1 moves". */
export function summarise(differences: readonly Difference[]): string {
  const changes: readonly (readonly [string, string])[] = [
    ["appears", "appear"],
    ["goes", "go"],
    ["moves", "move"],
    ["shares", "change their shares"],
    ["changes", "change"],
  ];
  const urls = changes.flatMap(([change, verb]) => {
    const count = differences.filter(
      (each) => (each.kind === "route" || each.kind === "port") && each.change === change,
    ).length;
    return count === 0 ? [] : [{ count, verb: count === 1 ? singular(change) : verb }];
  });
  const said = urls.map(({ count, verb }, index) =>
    index === 0 ? `${plural(count, "URL")} ${verb}` : `${count} ${verb}`,
  );
  const services = new Set(
    differences.flatMap((each) =>
      each.kind === "instances" || each.kind === "option" ? [each.service] : [],
    ),
  ).size;
  const problems = differences.filter((each) => each.kind === "problem" && each.change === "appears").length;
  if (services > 0) said.push(`${plural(services, "service")} changed`);
  if (problems > 0) said.push(plural(problems, "new problem"));
  return said.length > 0 ? said.join(", ") : differences.length === 0 ? "nothing changes" : "settings change";
}

const singular = (change: string): string => (change === "shares" ? "changes its shares" : change);
