import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { SIGNATURE } from "../../engine/wire";
import type { Recording } from "./record-stack";

/**
 * Runs the program with a committed stack file against mocks, as record-stack.ts does, and returns what it asked for.
 *
 * @param created settings that the machine of node-3 was created with, if not those that the program wants
 * @throws Error with the program's own, and what it asked for until then as `stdout`, if it fails
 */
export async function record(
  stack: string,
  verb: "up" | "preview" = "up",
  config: object = {},
  created: object = {},
): Promise<Recording> {
  const program = ["-r", "./lib/register.cjs", "test/unit/record-stack.ts"];
  const args = [...program, verb, stack, JSON.stringify(config), JSON.stringify(created)];
  const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 100 * 1024 * 1024 });
  return JSON.parse(stdout) as Recording;
}

/** Whether a value is one that Pulumi has marked as secret. */
export const isSecret = (value: object): boolean => SIGNATURE in value;

/** The inputs with secrets revealed: Pulumi marks a whole mapping as secret if it contains one. */
export function opened(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(opened);
  if (typeof value !== "object" || value === null) return value;
  if (isSecret(value)) return opened((value as { readonly value?: unknown }).value);
  const entries = Object.entries(value).filter(([key]) => !key.startsWith("__"));
  return Object.fromEntries(entries.map(([key, item]) => [key, opened(item)]));
}
