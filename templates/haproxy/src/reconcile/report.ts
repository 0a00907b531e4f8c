/** Changes as sentences for the log. Pure. */
import { some } from "../../../../lib/text";
import type { Problem, Routing, Unhealthy } from "../../../../routing/types";
import { asleepIn } from "../config/flags";
import { describeTarget } from "../config/routes";
import { optionOf } from "../config/types";
import type { MapOperation, Operation, ServerOperation } from "../haproxy/types";

type Check = Unhealthy["check"];

/** `routing` is what the operations lead to: it tells whether an instance is still registered. */
export function describe(operations: readonly Operation[], routing: Pick<Routing, "backends">): string {
  const touched = new Set(operations.flatMap((each) => ("map" in each ? [] : each.origin.backend)));
  const checks = new Map<string, Check>();
  for (const { name, warning, servers, unhealthy } of routing.backends) {
    if (!touched.has(name)) continue;
    if (warning) for (const server of servers) checks.set(`${name}/${server.name}`, "warning");
    for (const each of unhealthy)
      for (const server of each.servers) checks.set(`${name}/${server}`, each.check);
  }
  const sentences = operations.flatMap((operation) => {
    if ("map" in operation) return mapSentence(operation) ?? [];
    const { backend, server } = operation.origin;
    return serverSentence(operation, checks.get(`${backend}/${server}`));
  });
  return some([...new Set(sentences)]) || "shares of versions";
}

/** Undefined for a slot of a split, where the route says what has changed. */
export function mapSentence(operation: MapOperation): string | undefined {
  const { map, key, service = key } = operation;
  const value = operation.kind === "map" ? operation.value : undefined;
  switch (map) {
    case "splits.map":
      return undefined;
    case "routes.map":
      return typeof value === "object" ? `route ${key} -> ${describeTarget(value)}` : `route ${key} gone`;
    case "flags.map":
      if (asleepIn(key) !== undefined)
        return `${asleepIn(key) ?? ""} ${value === undefined ? "does not sleep any more" : "may sleep"}`;
      return value === undefined ? "not ready" : "ready";
    default:
      return `${service} ${optionOf(map)} ${typeof value === "string" ? value : "as usual"}`;
  }
}

const without: Readonly<Record<Check, string>> = {
  warning: "waits for its health check",
  critical: "fails its health check",
};

/** `check`: that of an instance which is registered and does not pass. A minus is for one that is no longer registered. */
function serverSentence(operation: ServerOperation, check: Check | undefined): string {
  const { service, server } = operation.origin;
  switch (operation.kind) {
    case "add":
    case "return":
      if (check === "warning") return `${service} ${server} ${without.warning}, and serves while none passes`;
      return `${service} + ${server}${operation.kind === "return" ? " (back)" : ""}`;
    case "leave":
      return check === undefined ? `${service} - ${server}` : `${service} ${server} ${without[check]}`;
    case "weight":
      return `${service} ${server} weighs ${operation.weight}`;
  }
}

/** New problems, and those that are over. */
export function problemChanges(before: readonly Problem[], after: readonly Problem[]): string[] {
  const had = new Set(before.map(({ message }) => message));
  const has = new Set(after.map(({ message }) => message));
  return [
    ...after.filter(({ message }) => !had.has(message)).map(({ level, message }) => `${level}: ${message}`),
    ...before.filter(({ message }) => !has.has(message)).map(({ message }) => `no longer: ${message}`),
  ];
}

/** Somebody may register thousands of bad services. */
const linesPerMinute = 60;
const minuteMs = 60_000;

/** Logs new problems and those that are over, up to a number of lines per minute. */
export class ProblemLog {
  private windowEnd = 0;
  private left = linesPerMinute;

  constructor(
    private readonly log: (message: string) => void,
    private readonly now: () => number = Date.now,
  ) {}

  announce(before: readonly Problem[], after: readonly Problem[]): void {
    if (this.now() >= this.windowEnd) {
      this.windowEnd = this.now() + minuteMs;
      this.left = linesPerMinute;
    }
    for (const change of problemChanges(before, after)) {
      if (this.left === 0) return;
      this.left--;
      this.log(change);
      if (this.left === 0)
        this.log(
          "Too many problems to log. For the next minute, see /routes on the admin port for all of them.",
        );
    }
  }
}
