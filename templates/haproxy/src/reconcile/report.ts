/** Changes as sentences for the log. Pure. */
import { some } from "../../../../lib/text";
import type { Problem } from "../../../../routing/types";
import { describeTarget } from "../config/routes";
import { optionOf } from "../config/types";
import type { MapOperation, Operation, ServerOperation } from "../haproxy/types";

export function describe(operations: readonly Operation[]): string {
  const sentences = operations.flatMap((each) => sentence(each) ?? []);
  return some([...new Set(sentences)]) || "shares of versions";
}

const sentence = (operation: Operation): string | undefined =>
  "map" in operation ? mapSentence(operation) : serverSentence(operation);

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
      return value === undefined ? "not ready" : "ready";
    default:
      return `${service} ${optionOf(map)} ${typeof value === "string" ? value : "as usual"}`;
  }
}

function serverSentence(operation: ServerOperation): string {
  const { service, server } = operation.origin;
  switch (operation.kind) {
    case "add":
      return `${service} + ${server}`;
    case "return":
      return `${service} + ${server} (back)`;
    case "leave":
      return `${service} - ${server}`;
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
