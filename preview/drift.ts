/** What the engine finds when it refreshes its state: resources that something else removed. Pure. */
import { stripVTControlCharacters } from "node:util";

import { goneLine } from "../engine/print";
import { plural, some } from "../lib/text";
import type { PlannedStack } from "../routing/planned";

/** A resource of the state that no longer exists, so `up` creates it again. */
export interface Gone {
  readonly type: string;
  readonly name: string;
}

/** The heading of a step in the Pulumi CLI's text: `~ docker:index/container:Container: (update)`. */
export const stepHeading = /^[ +~-]*[\w-]+:\S+: \(([\w-]+)\)/;
/** The line below, with the resource's URN. */
export const stepUrn = /^ +\[urn=(.+)\]$/;

export function namedIn(urn: string): Gone {
  const [, , type = "", ...name] = urn.split("::");
  return { type: type.split("$").at(-1) ?? "", name: name.join("::") };
}

/**
 * The Pulumi CLI's text without the steps of its refresh. They list every property that the engine fills in, and what matters
 * is among the changes anyway, except that a resource to be created existed: that is said as the embedded engine does.
 */
export function withoutRefresh(text: string): string {
  const refreshed = new Set<string>();
  const gone: Gone[] = [];
  const kept: string[] = [];
  let operation: string | undefined;
  for (const line of text.split("\n")) {
    const plain = stripVTControlCharacters(line);
    const [heading, started] = stepHeading.exec(plain) ?? [];
    if (heading !== undefined || /^\S/.test(plain)) operation = started;
    const urn = stepUrn.exec(plain)?.[1];
    if (urn !== undefined && operation === "refresh") refreshed.add(urn);
    if (urn !== undefined && operation === "create" && refreshed.has(urn)) gone.push(namedIn(urn));
    if (operation !== "refresh") kept.push(line);
  }
  return [...kept.slice(0, 1), ...gone.map(goneLine), ...kept.slice(1)].join("\n");
}

/** The resources that either engine's text says are gone. */
export function readGone(text: string): Gone[] {
  return [...text.matchAll(/^"(.+)" \((\S+)\) no longer exists: /gm)].map(([, name = "", type = ""]) => ({
    type,
    name,
  }));
}

/** `Container registrator-local`. */
const shown = ({ type, name }: Gone): string => `${type.split(/[:/]/).at(-1) ?? ""} ${name}`;

/** One sentence; undefined if nothing is gone. */
export function driftSentence(gone: readonly Gone[]): string | undefined {
  if (gone.length === 0) return undefined;
  return `Something else removed ${plural(gone.length, "resource")}, which up creates again: ${some(gone.map(shown))}`;
}

/** The deployed stack without the services that are gone, and what that means for its routes, one sentence each. */
export function stillDeployed(
  stack: PlannedStack,
  gone: readonly Gone[],
): { readonly stack: PlannedStack; readonly notes: readonly string[] } {
  const of = (type: RegExp) => gone.filter((each) => type.test(each.type)).map(({ name }) => name);
  const services = of(/:SwarmService$/);
  const balancers = of(/Container$/).filter((name) => name.startsWith("rest-"));
  return {
    stack: { ...stack, services: stack.services.filter(({ name }) => !services.includes(name)) },
    notes: [
      ...(services.length > 0
        ? [`Something else removed ${some(services)}, so the comparison is without what answered there.`]
        : []),
      ...balancers.map(
        (name) =>
          `Something else removed the load balancer of ${name.slice("rest-".length)}: nothing answers there until up creates it again.`,
      ),
    ],
  };
}
