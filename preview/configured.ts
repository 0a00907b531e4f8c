/** Reads a stack file without an engine and without its secrets. */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

import * as pulumi from "@pulumi/pulumi";

import { loadConfig, type Config } from "../components/config/index";
import { messageOf, UserError } from "../lib/errors";
import { loadProject, loadStackFile, mergeConfig, qualified, stackValues } from "../engine/project";

/** The contents of Pulumi.yaml and Pulumi.<stack>.yaml. */
export interface Sources {
  readonly project: string;
  readonly stack: string;
}

export function readSources(stack: string): Sources {
  const file = `Pulumi.${stack}.yaml`;
  if (!existsSync(file))
    throw new UserError(
      `There is no ${file}: create it from a copy of Pulumi.dev.yaml, or name another stack.`,
    );
  return { project: readFileSync("Pulumi.yaml", "utf8"), stack: readFileSync(file, "utf8") };
}

/** The same files at a git ref; undefined if the stack does not exist there. */
export async function readSourcesAt(stack: string, ref: string): Promise<Sources | undefined> {
  const git = async (...args: string[]) => (await promisify(execFile)("git", args)).stdout;
  try {
    // git must take the ref neither for an option nor for a path.
    await git("rev-parse", "--verify", "--quiet", "--end-of-options", `${ref}^{commit}`);
  } catch (error) {
    if ((error as { code?: unknown }).code === "ENOENT") throw new UserError("--base needs git: install it.");
    throw new UserError(
      `--base ${ref}: there is no such commit here. Fetch it first: git fetch origin ${ref}`,
    );
  }
  const files = [`./Pulumi.yaml`, `./Pulumi.${stack}.yaml`];
  const listed = await git("ls-tree", "--name-only", ref, "--", ...files);
  if (listed.trim().split("\n").length < files.length) return undefined;
  const [project, own] = await Promise.all(files.map((file) => git("show", `${ref}:${file}`)));
  return { project: project ?? "", stack: own ?? "" };
}

/** Stands in for every secret, since the routes depend on none. It is valid as a password. */
const placeholder = "secret-not-opened";

/**
 * The stack's configuration, validated as the program validates it.
 *
 * @throws UserError that names the key and the cure
 */
export function configure(stack: string, sources: Sources): Config {
  const dir = mkdtempSync(path.join(tmpdir(), "switchyard-preview-"));
  try {
    writeFileSync(path.join(dir, "Pulumi.yaml"), sources.project);
    writeFileSync(path.join(dir, `Pulumi.${stack}.yaml`), sources.stack);
    const project = loadProject(dir);
    const values = stackValues(loadStackFile(project, stack));
    const given = new Set(Object.keys(values).map((key) => qualified(key, project.name)));
    // The missing ones, which `script/up` would generate.
    const missing = [...project.config].filter(([key, { secret }]) => secret === true && !given.has(key));
    const secrets = Object.fromEntries(missing.map(([key]) => [key, { secure: placeholder }]));
    const crypter = { salt: "", encrypt: () => placeholder, decrypt: () => placeholder };
    const config = mergeConfig(project, stack, { ...values, ...secrets }, crypter);
    pulumi.runtime.setAllConfig(config.values, config.secretKeys);
    return loadConfig();
  } catch (error) {
    if (error instanceof UserError) throw new UserError(messageOf(error).replaceAll(`${dir}${path.sep}`, ""));
    throw error;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Makes every registration of a resource fail: reading the configuration must not cause any. */
export async function withoutEngine(): Promise<void> {
  const refuse = ({ type }: { type: string }) =>
    Promise.reject(new Error(`the configuration registers a ${type}`));
  await pulumi.runtime.setMocks(
    { newResource: refuse, call: ({ token }) => refuse({ type: token }) },
    "switchyard",
    "preview",
  );
}
