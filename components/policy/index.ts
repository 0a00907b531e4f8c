import { existsSync, readFileSync } from "node:fs";
import * as path from "node:path";

import * as pulumi from "@pulumi/pulumi";

import { describe, parseImage, rules, type Registration, type Rule } from "./rules";

/** A resource that the policy refuses; Pulumi prints the message without a stack trace. */
export class PolicyError extends pulumi.RunError {}

/**
 * From here on every resource that the program registers, by whatever component, is held against the rules, in a
 * preview as in an update: one that breaks a rule fails the run and is not made. Inputs that a preview cannot know yet
 * are looked at when they are known, before the resource is made.
 */
export function enforcePolicy(): void {
  const healthChecked = new Set<string>();
  const images = { hasHealthCheck: (repository: string) => healthChecked.has(repository) };
  // Nothing is registered before the program has been read to its end, so that a run that is refused has touched nothing.
  let refused = false;
  const read = new Promise<pulumi.Resource[]>((resolve) => {
    setImmediate(() => {
      if (!refused) resolve([]);
    });
  });

  pulumi.runtime.registerStackTransformation(({ type, name, props, opts }) => {
    if (type === "docker:index/image:Image") noteHealthCheck(props, healthChecked);
    const parentType = (opts.parent as { __pulumiType?: string } | undefined)?.__pulumiType;
    const inputs: Record<string, unknown> = { ...props };
    for (const rule of rules.filter(({ types }) => types.includes(type))) {
      const check = (known: Registration["inputs"]): void => {
        const registration = { type, name, parentType, inputs: known };
        const found = rule.check(registration, images);
        if (found === undefined) return;
        refused = true;
        throw new PolicyError(`${describe(registration, found)} (Policy: ${rule.name})`);
      };
      guard(rule, inputs, check);
    }
    return { props: inputs, opts: pulumi.mergeOptions(opts, { dependsOn: read }) };
  });
}

/** Looks at what is there at once; what is still to come holds one of its inputs back until it has been looked at. */
function guard(
  rule: Rule,
  inputs: Record<string, unknown>,
  check: (known: Registration["inputs"]) => void,
): void {
  const looked = rule.inputs.filter((key) => inputs[key] !== undefined);
  const later = looked.filter((key) => isPending(inputs[key]));
  const picked = Object.fromEntries(looked.map((key) => [key, inputs[key]]));
  const [held] = later;
  if (held === undefined) {
    check(picked);
    return;
  }
  inputs[held] = pulumi
    .all([pulumi.output(inputs[held]), pulumi.output(picked)])
    .apply(([value, known]: [unknown, Registration["inputs"]]) => {
      check(known);
      return value;
    });
}

function isPending(value: unknown): boolean {
  if (pulumi.Output.isInstance(value) || value instanceof Promise) return true;
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).some(isPending);
}

/** Remembers an image whose Dockerfile has a health check. */
function noteHealthCheck({ imageName, build }: pulumi.Inputs, healthChecked: Set<string>): void {
  const { context, dockerfile } = (build ?? {}) as { context?: unknown; dockerfile?: unknown };
  if (typeof imageName !== "string" || typeof context !== "string") return;
  const file = typeof dockerfile === "string" ? dockerfile : path.join(context, "Dockerfile");
  if (existsSync(file) && /^HEALTHCHECK(?!\s+NONE)\s/im.test(readFileSync(file, "utf8")))
    healthChecked.add(parseImage(imageName).repository);
}
