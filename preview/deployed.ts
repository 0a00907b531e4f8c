/** Reads what a stack has deployed from the engine's state. */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

import { readOutputs } from "../components/routing";
import { messageOf } from "../lib/errors";
import { stateFile } from "../engine/state";
import { run } from "../lib/run";
import type { PlannedStack } from "../routing/planned";

export type Deployed =
  | { readonly kind: "deployed"; readonly stack: PlannedStack }
  /** `inBackend`: whether the stack exists, but is empty. */
  | { readonly kind: "never"; readonly inBackend: boolean }
  | { readonly kind: "unknown"; readonly why: string };

/** Reads no secrets, so those in the state stay encrypted. */
export async function readDeployed(stack: string, engine: "pulumi" | "embedded"): Promise<Deployed> {
  if (engine === "embedded") return readEmbedded(stateFile(path.resolve(), stack));
  const exported = await run("pulumi", ["stack", "export", "--stack", stack, "--non-interactive"], {
    timeoutMs: 120_000,
  });
  if (exported.code === 0) return readExport(exported.stdout);
  return /no stack named/.test(exported.stderr)
    ? { kind: "never", inBackend: false }
    : { kind: "unknown", why: firstLine(exported.stderr) };
}

function readEmbedded(file: string): Deployed {
  if (!existsSync(file)) return { kind: "never", inBackend: false };
  try {
    const state = JSON.parse(readFileSync(file, "utf8")) as { outputs?: unknown; resources?: unknown[] };
    return fromOutputs(state.outputs, state.resources ?? []);
  } catch (error) {
    return { kind: "unknown", why: `${path.relative("", file)} cannot be read: ${messageOf(error)}` };
  }
}

/** Parses the output of `pulumi stack export`. */
export function readExport(text: string): Deployed {
  const { deployment } = JSON.parse(text) as {
    deployment?: { resources?: { type?: string; outputs?: unknown }[] };
  };
  const resources = deployment?.resources ?? [];
  return fromOutputs(resources.find(({ type }) => type === "pulumi:pulumi:Stack")?.outputs, resources);
}

function fromOutputs(outputs: unknown, resources: readonly unknown[]): Deployed {
  if (resources.length === 0) return { kind: "never", inBackend: true };
  const stack = readOutputs(outputs);
  if (stack !== undefined) return { kind: "deployed", stack };
  return {
    kind: "unknown",
    why: "the last `up` did not finish, or was run by an earlier release",
  };
}

const firstLine = (text: string): string =>
  text
    .split("\n")
    .find((line) => line.trim() !== "")
    ?.replace(/^error: /, "") ?? "the Pulumi CLI gave no reason";
