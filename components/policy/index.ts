import { existsSync, readFileSync } from "node:fs";
import * as path from "node:path";

import * as pulumi from "@pulumi/pulumi";

import { UserError } from "../../lib/errors";
import { describe, parseImage, rules } from "./rules";
import type { Registration, Rule } from "./types";

/**
 * Checks every resource that the program registers from now on, in any component, in previews and updates. A resource that
 * breaks a rule fails the run and is not created. Inputs that a preview does not know yet are checked once they are known,
 * before the resource is created.
 */
export function enforcePolicy(): void {
  const healthChecked = new Set<string>();
  const images = { hasHealthCheck: (repository: string) => healthChecked.has(repository) };
  // Registrations wait until the whole program has run, so that a rejected run changes nothing.
  let rejected = false;
  const read = new Promise<pulumi.Resource[]>((resolve) => {
    setImmediate(() => {
      if (!rejected) resolve([]);
    });
  });

  pulumi.runtime.registerStackTransformation(({ type, name, props, opts }) => {
    if (type === "docker:index/image:Image") noteHealthCheck(props, props["build"], healthChecked);
    if (type === "pulumi-nodejs:dynamic/switchyard:ImageBuild") noteHealthCheck(props, props, healthChecked);
    const parentType = (opts.parent as { __pulumiType?: string } | undefined)?.__pulumiType;
    const inputs: Record<string, unknown> = { ...props };
    for (const rule of rules.filter(({ types }) => types.includes(type))) {
      const check = (known: Registration["inputs"]): void => {
        const registration = { type, name, parentType, inputs: known };
        const found = rule.check(registration, images);
        if (found === undefined) return;
        rejected = true;
        throw new UserError(`${describe(registration, found)} (Policy: ${rule.name})`);
      };
      guard(rule, inputs, check);
    }
    return { props: inputs, opts: pulumi.mergeOptions(opts, { dependsOn: read }) };
  });
}

/** Checks known inputs immediately. If any are unknown, holds one of them back until all have been checked. */
function guard(
  rule: Rule,
  inputs: Record<string, unknown>,
  check: (known: Registration["inputs"]) => void,
): void {
  const given = rule.inputs.filter((key) => inputs[key] !== undefined);
  const pending = given.filter((key) => isPending(inputs[key]));
  const picked = Object.fromEntries(given.map((key) => [key, inputs[key]]));
  const [held] = pending;
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

/** Records that an image's Dockerfile has a health check. */
function noteHealthCheck({ imageName }: pulumi.Inputs, build: unknown, healthChecked: Set<string>): void {
  const { context, dockerfile } = (build ?? {}) as { context?: unknown; dockerfile?: unknown };
  if (typeof imageName !== "string" || typeof context !== "string") return;
  const file = typeof dockerfile === "string" ? dockerfile : path.join(context, "Dockerfile");
  if (existsSync(file) && /^HEALTHCHECK(?!\s+NONE)\s/im.test(readFileSync(file, "utf8")))
    healthChecked.add(parseImage(imageName).repository);
}
