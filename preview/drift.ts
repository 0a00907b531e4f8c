/** What the engine finds when it refreshes its state: resources that something else removed. Pure. */
import { isDeepStrictEqual, stripVTControlCharacters } from "node:util";

import { goneLine } from "../engine/print";
import { plural, some } from "../lib/text";
import type { PlannedStack, StackService } from "../routing/planned";
import type { Gone } from "./events";

/** The heading of a step in the Pulumi CLI's text: `~ docker:index/container:Container: (update)`. */
const heading = /^[ +~-]*[\w-]+:\S+: \(([\w-]+)\)/;

/**
 * The Pulumi CLI's text without the steps of its refresh, with which it begins. They list every property that the engine fills in,
 * and what matters is among the changes anyway, except that a resource to be created existed: that is said as the embedded engine
 * does.
 */
export function withoutRefresh(text: string, gone: readonly Gone[]): string {
  const lines = text.split("\n");
  const plain = lines.map(stripVTControlCharacters);
  const isRefresh = (line: string) => heading.exec(line)?.[1] === "refresh";
  const endsRefresh = (line: string) => (heading.test(line) ? !isRefresh(line) : /^[^\s@]/.test(line));
  const from = plain.findIndex(isRefresh);
  const to = plain.findIndex((line, index) => index > from && endsRefresh(line));
  const kept = from < 0 ? lines : [...lines.slice(0, from), ...(to < 0 ? [] : lines.slice(to))];
  return [...kept.slice(0, 1), ...gone.map(goneLine), ...kept.slice(1)].join("\n");
}

/** `Container registrator-local`. */
const shown = ({ type, name }: Gone): string => `${type.split(/[:/]/).at(-1) ?? ""} ${name}`;

/** One sentence; undefined if nothing is gone. */
export function driftSentence(gone: readonly Gone[]): string | undefined {
  if (gone.length === 0) return undefined;
  return `Something else removed ${plural(gone.length, "resource")}, which up creates again: ${some(gone.map(shown))}`;
}

/** A service that would be updated in place, with the names of its changed properties. */
export interface Updated {
  readonly name: string;
  readonly properties: readonly string[];
}

/** The properties of a service of which a stack's outputs tell the value. */
const known: Readonly<Record<string, (service: StackService) => unknown>> = {
  replicas: ({ replicas, range }) => range ?? replicas,
  limits: ({ cpus, memory }) => [cpus, memory],
  serviceLabels: ({ range, cpus, memory, settings }) => [
    ...[range, cpus, memory],
    ...[settings?.["schedule"], settings?.["deadline"]],
  ],
  user: ({ settings }) => settings?.["user"],
  readOnly: ({ settings }) => settings?.["read_only"],
  init: ({ settings }) => settings?.["init"],
  capAdd: ({ settings }) => settings?.["cap_add"],
  capDrop: ({ settings }) => settings?.["cap_drop"],
  ulimits: ({ settings }) => settings?.["ulimits"],
  mounts: ({ settings }) => [settings?.["volumes"], settings?.["tmpfs"]],
};

/** Says which services `up` changes although their configuration does not: something else has changed them. */
export function driftNotes(
  before: PlannedStack,
  after: PlannedStack,
  updated: readonly Updated[],
): readonly string[] {
  return updated.flatMap(({ name, properties }) => {
    const [was, is] = [before, after].map(({ services }) => services.find((each) => each.name === name));
    if (was === undefined || is === undefined) return [];
    const changed = properties.filter((property) => {
      const valueIn = known[property];
      return valueIn !== undefined && isDeepStrictEqual(valueIn(was), valueIn(is));
    });
    return changed.length > 0
      ? [`Something else changed ${name} (${some(changed)}), which up changes back.`]
      : [];
  });
}

/** Whether it is one of these services, or a further port of one. */
const isOf = (names: readonly string[], { name, runs }: StackService): boolean =>
  names.includes(name) || names.some((each) => /^port [0-9]+ of (.*)$/.exec(runs)?.[1] === each);

/** The deployed stack without the services that are gone, and what that means for its routes, one sentence each. */
export function stillDeployed(
  stack: PlannedStack,
  gone: readonly Gone[],
): { readonly stack: PlannedStack; readonly notes: readonly string[] } {
  const of = (type: RegExp) => gone.filter((each) => type.test(each.type)).map(({ name }) => name);
  const services = of(/:SwarmService$/);
  const containers = of(/Container$/);
  const balancers = containers.filter((name) => name.startsWith("rest-"));
  const registration = containers.filter((name) => /^(consul|registrator)-/.test(name));
  return {
    stack: { ...stack, services: stack.services.filter((service) => !isOf(services, service)) },
    notes: [
      ...(services.length > 0
        ? [`Something else removed ${some(services)}, so the comparison is without what answered there.`]
        : []),
      ...balancers.map(
        (name) =>
          `Something else removed the load balancer of ${name.slice("rest-".length)}: nothing answers there until up creates it again.`,
      ),
      ...(registration.length > 0
        ? [
            `Something else removed ${some(registration)}: what starts or stops there is not registered until up creates it again.`,
          ]
        : []),
    ],
  };
}
