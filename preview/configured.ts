/** What a stack's file asks for, read without an engine and without its secrets. */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

import * as pulumi from "@pulumi/pulumi";

import { loadConfig, type Config } from "../components/config/index";
import { messageOf, UserError } from "../lib/errors";
import { loadProject, loadStackFile, mergeConfig, qualified, stackValues } from "../engine/project";

/** The texts of Pulumi.yaml and Pulumi.<stack>.yaml. */
export interface Sources {
  readonly project: string;
  readonly stack: string;
}

export function readSources(stack: string): Sources {
  const file = `Pulumi.${stack}.yaml`;
  if (!existsSync(file))
    throw new UserError(
      `There is no ${file}: copy Pulumi.dev.yaml to it and edit it, or name another stack.`,
    );
  return { project: readFileSync("Pulumi.yaml", "utf8"), stack: readFileSync(file, "utf8") };
}

/** The same as git has it at a ref; undefined where the stack is not there yet. */
export async function readSourcesAt(stack: string, ref: string): Promise<Sources | undefined> {
  const git = async (...args: string[]) => (await promisify(execFile)("git", args)).stdout;
  try {
    // A ref must not be taken for an option, nor for a path.
    await git("rev-parse", "--verify", "--quiet", "--end-of-options", `${ref}^{commit}`);
  } catch (error) {
    if ((error as { code?: unknown }).code === "ENOENT") throw new UserError("--base needs git: install it.");
    throw new UserError(`--base ${ref}: there is no such commit here. Get it first: git fetch origin ${ref}`);
  }
  const files = [`./Pulumi.yaml`, `./Pulumi.${stack}.yaml`];
  const listed = await git("ls-tree", "--name-only", ref, "--", ...files);
  if (listed.trim().split("\n").length < files.length) return undefined;
  const [project, own] = await Promise.all(files.map((file) => git("show", `${ref}:${file}`)));
  return { project: project ?? "", stack: own ?? "" };
}

/** In place of every secret, which a preview of the routes has no need of; it passes for a password. */
const placeholder = "secret-not-opened";

/**
 * The stack's configuration, checked as the program itself does.
 *
 * @throws UserError or ConfigError that name the key and its cure
 */
export function configure(stack: string, sources: Sources): Config {
  const dir = mkdtempSync(path.join(tmpdir(), "switchyard-preview-"));
  try {
    writeFileSync(path.join(dir, "Pulumi.yaml"), sources.project);
    writeFileSync(path.join(dir, `Pulumi.${stack}.yaml`), sources.stack);
    const project = loadProject(dir);
    const values = stackValues(loadStackFile(project, stack));
    const given = new Set(Object.keys(values).map((key) => qualified(key, project.name)));
    // Those that `script/up` sets where they are missing.
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

/** Reading a configuration registers nothing; anything that tries to is a fault. */
export async function withoutEngine(): Promise<void> {
  const refuse = ({ type }: { type: string }) =>
    Promise.reject(new Error(`the configuration registers a ${type}`));
  await pulumi.runtime.setMocks(
    { newResource: refuse, call: ({ token }) => refuse({ type: token }) },
    "switchyard",
    "preview",
  );
}
