/** Changes as sentences for the log. Pure. */
import type { Problem } from "../../../model/routes";
import type { Operation } from "./plan";

const shown = 6;

/** At most a few of them, so that a line stays a line. */
export function some(items: readonly string[]): string {
  return items.length <= shown
    ? items.join(", ")
    : `${items.slice(0, shown).join(", ")} and ${items.length - shown} more`;
}

export function describe(operations: readonly Operation[]): string {
  return some(operations.filter((operation) => !isSplit(operation)).map(sentence)) || "shares of versions";
}

const isSplit = (operation: Operation): boolean => "map" in operation && operation.map === "splits.map";

const service = (backend: string): string => backend.replace(/^svc:/, "").replaceAll(":", "/");

function sentence(operation: Operation): string {
  switch (operation.kind) {
    case "add":
      return `${service(operation.backend)} + ${operation.server}`;
    case "return":
      return `${service(operation.backend)} + ${operation.server} (back)`;
    case "leave":
      return `${service(operation.backend)} - ${operation.server}`;
    case "weight":
      return `${service(operation.backend)} ${operation.server} weighs ${operation.weight}`;
    case "map":
      return `route ${operation.key} -> ${operation.value.split("|")[0] ?? ""}`;
    case "unmap":
      return `route ${operation.key} gone`;
  }
}

/** What is newly wrong and what no longer is. */
export function problemChanges(before: readonly Problem[], after: readonly Problem[]): string[] {
  const had = new Set(before.map(({ message }) => message));
  const has = new Set(after.map(({ message }) => message));
  return [
    ...after.filter(({ message }) => !had.has(message)).map(({ level, message }) => `${level}: ${message}`),
    ...before.filter(({ message }) => !has.has(message)).map(({ message }) => `no longer: ${message}`),
  ];
}

/** Reasons differ in their details; a metric's label must not. */
export function reasonKind(reason: string): string {
  if (/^service \S+ is new/.test(reason)) return "new service";
  if (reason.startsWith("service ")) return "service options";
  if (reason.startsWith("TCP port")) return "tcp port";
  if (reason.startsWith("HAProxy ")) return "recovery";
  return "settings";
}
