/** Formats an explanation for a terminal. Pure. */
import { plural } from "../../../../lib/text";
import { show } from "../../../../routing/grammar";
import { describeLimits } from "../../../../routing/scaling/limits-status";
import type { Explanation, TargetExplained } from "./explain";

/** Ids and names of nodes are foreign and may contain anything. */
const plain = (value: string): string => (/^[\x21-\x7e]{1,120}$/.test(value) ? value : show(value));

const field = (name: string, value: string): string => `${name.padEnd(11)}${value}`;

export function explainText({ asked, answer, why, route, targets, checks, related }: Explanation): string[] {
  const head = `${asked.host === undefined ? "" : `http://${asked.host}`}${asked.path}: ${answer === "proxied" ? "" : `${answer}, `}${why}.`;
  return [
    head,
    ...(route === undefined
      ? []
      : [
          field("route", `${route.url} (looked up as ${route.key})`),
          ...(route.instead.length === 0 ? [] : [field("", `instead of ${route.instead.join(", ")}`)]),
          ...(route.choice === undefined ? [] : [field("version", route.choice)]),
          ...(route.versions.length === 0 ? [] : [field("", versions(route.versions))]),
          ...(route.chosenBy === undefined
            ? []
            : [field("", `can be set in Consul's KV: ${route.chosenBy}`)]),
          ...route.but.map((problem) => field("", problem)),
          ...(targets.length === 0
            ? []
            : [
                field(
                  "path seen",
                  route.seen +
                    (route.prefix === undefined ? "" : `, with X-Forwarded-Prefix: ${route.prefix}`),
                ),
              ]),
        ]),
    ...targets.flatMap(target),
    field("checks", checks),
    ...related.map(({ subject, why: reason }) => field("perhaps", `${plain(subject)}: ${reason}`)),
  ];
}

const shownChanges = 3;

function scalingFields(scaling: NonNullable<TargetExplained["scaling"]>): string[] {
  const { min, max, replicas, wish, reason, changes, problem } = scaling;
  return [
    field("autoscaler", `${min} to ${max} instances, ${replicas} now, ${wish} wanted: ${said(reason)}`),
    ...(problem === undefined ? [] : [field("", said(problem))]),
    ...changes
      .slice(-shownChanges)
      .map(({ at, from, to, reason: why }) => field("", `${at} ${from} -> ${to}: ${said(why)}`)),
  ];
}

function limitFields(limits: NonNullable<TargetExplained["limits"]>): string[] {
  const lines = [...describeLimits(limits), ...(limits.reason === undefined ? [] : [said(limits.reason)])];
  return lines.map((line, index) => field(index === 0 ? "limits" : "", line));
}

/** Sentences from Consul's KV are foreign as well. */
const said = (text: string): string => (/^[\x20-\x7e]{1,300}$/.test(text) ? text : show(text));

const versions = (all: readonly { service: string; instances: number }[]): string =>
  `of ${all.map(({ service, instances }) => `${service} (${plural(instances, "instance")})`).join(", ")}`;

function target({
  service,
  backend,
  share,
  balance,
  instances,
  leftOut,
  asleep,
  scaling,
  limits,
}: TargetExplained): string[] {
  return [
    field("backend", `${backend}${share === 100 ? "" : ` for ${share} % of requests`}, balance ${balance}`),
    ...(asleep === true ? [field("asleep", `${service} has no instance until a request comes`)] : []),
    ...(scaling === undefined ? [] : scalingFields(scaling)),
    ...(limits === undefined ? [] : limitFields(limits)),
    ...instances.map(({ address, weight, ids, but }) =>
      field(
        "instance",
        `${address} of ${service}, weight ${weight}${but === undefined ? "" : `; gets no requests: ${but}`} (${ids.map(plain).join(", ")})`,
      ),
    ),
    ...leftOut.map(({ id, node, address, why }) =>
      field("left out", `${plain(address)} of ${service}: ${why} (${plain(id)} on ${plain(node)})`),
    ),
  ];
}
