/** Changes as sentences for the log. Pure. */
import { escapeInvisible } from "../../../../routing/grammar";
import type { Problem } from "../../../../routing/build";
import { originOf } from "../config/backend-pool";
import { some } from "../../../../lib/text";
import { nowhere } from "../config/backend-profiles";
import { optionMaps, optionOf, type OptionMap, type Rendered } from "../config/types";
import type { Operation } from "../haproxy/types";
import type { ReloadKind } from "../metrics";

/** One line, whatever is in it, that does nothing to the terminal it is read in. */
export const logLine = (message: string): string =>
  `switchyard: ${escapeInvisible(message.replaceAll(/[\r\n]+/g, " | "))}\n`;

/** `services` has the service of each backend. */
export function describe(operations: readonly Operation[], services: ReadonlyMap<string, string>): string {
  const sentences = operations
    .filter((operation) => !isSplit(operation))
    .map((each) => sentence(each, services));
  return some(sentences) || "shares of versions";
}

const isSplit = (operation: Operation): boolean => "map" in operation && operation.map === "splits.map";

type MapOperation = Extract<Operation, { map: string }>;

/** Whether it is about what a service says in its options. */
export const isOption = (operation: Operation): operation is MapOperation & { readonly map: OptionMap } =>
  "map" in operation && optionMaps.some((map) => map === operation.map);

/** The service of each backend that operations touch, as it is or was called. */
export function servicesOf(
  operations: readonly Operation[],
  ...configurations: readonly (Rendered | undefined)[]
): Map<string, string> {
  const touched = new Set(
    operations.flatMap((operation) =>
      "backend" in operation ? [operation.backend] : isOption(operation) ? [operation.key] : [],
    ),
  );
  const services = new Map<string, string>();
  for (const configuration of configurations)
    for (const { name, service } of configuration?.backends ?? [])
      if (service !== undefined && touched.has(name)) services.set(name, service);
  return services;
}

/** Where a route leads, by what stands in the map under its key. */
export function targetOf(value: string): string {
  const [, , , backend, service = "", shares] = value.split("|");
  if (backend === nowhere) return "nothing";
  return shares?.replaceAll(/([^,=]+)=(\d+)/g, "$2% $1").replaceAll(",", ", ") ?? service;
}

function sentence(operation: Operation, services: ReadonlyMap<string, string>): string {
  const named = (backend: string) => services.get(backend) ?? backend;
  if (isOption(operation))
    return `${named(operation.key)} ${optionOf(operation.map)} ${operation.kind === "map" ? operation.value : "as usual"}`;
  if (operation.kind === "map") return `route ${operation.key} -> ${targetOf(operation.value)}`;
  if (operation.kind === "unmap") return `route ${operation.key} gone`;
  const service = named(operation.backend);
  const { server } = originOf(operation);
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

/** What is newly wrong and what no longer is. */
export function problemChanges(before: readonly Problem[], after: readonly Problem[]): string[] {
  const had = new Set(before.map(({ message }) => message));
  const has = new Set(after.map(({ message }) => message));
  return [
    ...after.filter(({ message }) => !had.has(message)).map(({ level, message }) => `${level}: ${message}`),
    ...before.filter(({ message }) => !has.has(message)).map(({ message }) => `no longer: ${message}`),
  ];
}

/** Lines about what is refused that the log gets in a minute; somebody may register thousands of bad services. */
const linesAMinute = 60;
const minute = 60_000;

/** Says what is newly wrong and what no longer is, within bounds. */
export class ProblemLog {
  private windowEnd = 0;
  private left = linesAMinute;

  constructor(
    private readonly log: (message: string) => void,
    private readonly now: () => number = Date.now,
  ) {}

  announce(before: readonly Problem[], after: readonly Problem[]): void {
    if (this.now() >= this.windowEnd) {
      this.windowEnd = this.now() + minute;
      this.left = linesAMinute;
    }
    for (const change of problemChanges(before, after)) {
      if (this.left === 0) return;
      this.left--;
      this.log(change);
      if (this.left === 0)
        this.log(
          "There are more changes of what is refused than the log should hold; for a minute only /routes on the admin port has them.",
        );
    }
  }
}

/** Reasons differ in their details; a metric's label must not. A reload counts once, for the first of its reasons. */
export function reloadKind([reason = ""]: readonly string[]): ReloadKind {
  if (/^service \S+ is new/.test(reason)) return "new service";
  if (reason.startsWith("service ")) return "service options";
  if (reason.startsWith("certificate ")) return "certificate";
  if (reason.startsWith("TCP port")) return "tcp port";
  if (reason.startsWith("HAProxy ")) return "recovery";
  return "settings";
}
