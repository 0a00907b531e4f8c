/** What the engine needs but cannot find here. Previewing the routes needs none of it. */
import { existsSync } from "node:fs";
import path from "node:path";

import type { Config } from "../components/config";
import type { Env } from "../components/nodes/target";
import { targetOf } from "../components/nodes/targets";
import { run } from "../lib/run";
import { connect } from "../providers/client";
import type { Deployed } from "./deployed";
import type { Options } from "./options";

export interface Situation {
  readonly options: Pick<Options, "engine" | "stack">;
  readonly config: Pick<Config, "target" | "dockerHost">;
  readonly deployed: Deployed;
  /** The content of the stack file. */
  readonly stackFile: string;
  readonly env: Env;
}

/** What is known to be missing before the engine runs: one phrase each, with the cure. */
export async function missingBefore(situation: Situation): Promise<string[]> {
  const { options, config, env } = situation;
  const { engineAtHand, machinesOff } = targetOf(config.target);
  const dockerHost = engineAtHand?.(config);
  return [
    ...(options.engine === "pulumi" ? await missingBackend(situation) : missingCli(config)),
    ...missingPassphrase(situation),
    ...(dockerHost === undefined ? [] : await missingDocker(dockerHost, env)),
    ...((await machinesOff?.(options.stack)) ?? []),
  ];
}

async function missingBackend({ deployed, options, env }: Situation): Promise<string[]> {
  const whoami = await run("pulumi", ["whoami", "--non-interactive"], { timeoutMs: 60_000 });
  if (whoami.code === 127) return ["the Pulumi CLI: install it (npm install --global pulumi)"];
  if (whoami.code !== 0)
    return ["a login to the Pulumi backend: pulumi login, or set PULUMI_ACCESS_TOKEN or PULUMI_BACKEND_URL"];
  if (deployed.kind === "never" && !deployed.inBackend && !isOwnBackend(env))
    return [`stack ${options.stack} in the Pulumi backend: pulumi stack init ${options.stack}`];
  return [];
}

/** The backend under .switchyard/, which the scripts use unless another is set. */
export const isOwnBackend = (env: Env): boolean =>
  env["PULUMI_BACKEND_URL"] === `file://${path.resolve(".switchyard/pulumi")}`;

const missingCli = ({ target }: Pick<Config, "target">): string[] =>
  targetOf(target).needsCli ? [`the Pulumi CLI: the embedded engine does not support target ${target}`] : [];

export function missingPassphrase({ stackFile, options, env }: Omit<Situation, "deployed">): string[] {
  const file = `Pulumi.${options.stack}.yaml`;
  const salted = /^encryptionsalt:/m.test(stackFile);
  const given = env["PULUMI_CONFIG_PASSPHRASE"] ?? "";
  if (salted && given === "" && !existsSync(env["PULUMI_CONFIG_PASSPHRASE_FILE"] ?? ""))
    return [
      `the passphrase of the secrets in ${file}: put it into .switchyard/passphrase, or set PULUMI_CONFIG_PASSPHRASE`,
    ];
  const keptByBackend = /^secretsprovider:|^encryptedkey:/m.test(stackFile);
  return !salted && !keptByBackend && /\bsecure:/.test(stackFile) && isOwnBackend(env)
    ? [
        `the Pulumi backend that encrypted the secrets in ${file}: set PULUMI_BACKEND_URL or PULUMI_ACCESS_TOKEN`,
      ]
    : [];
}

async function missingDocker(host: string, env: Env): Promise<string[]> {
  try {
    await connect(host).ping();
    return [];
  } catch {
    const own = host === "unix:///var/run/docker.sock" && env["DOCKER_HOST"] === undefined;
    return [`a Docker Engine at ${host}: ${own ? "script/up installs and starts one" : "start it"}`];
  }
}

/** What may explain that the engine failed. It runs even without known credentials, because it might find others. */
export const missingAfter = ({ config, env }: Pick<Situation, "config" | "env">): readonly string[] =>
  targetOf(config.target).missingCredentials(env);
