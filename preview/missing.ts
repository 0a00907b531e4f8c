/** What an engine needs and does not have here; the routes can be previewed without any of it. */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";

import { connect } from "../providers/client";
import type { Config } from "../components/config/index";
import type { Deployed } from "./deployed";
import type { Options } from "./options";
import { run } from "./run";

type Env = Readonly<Record<string, string | undefined>>;

export interface Situation {
  readonly options: Pick<Options, "engine" | "stack">;
  readonly config: Pick<Config, "target" | "dockerHost">;
  readonly deployed: Deployed;
  /** The text of the stack's file. */
  readonly stackFile: string;
  readonly env: Env;
}

/** What can be known to be missing before the engine runs: a sentence each, with its cure. */
export async function missingBefore(situation: Situation): Promise<string[]> {
  const { options, config, env } = situation;
  return [
    ...(options.engine === "pulumi" ? await missingBackend(situation) : missingMachines(config)),
    ...missingPassphrase(situation),
    ...(config.target === "local" ? await missingDocker(config.dockerHost, env) : []),
  ];
}

async function missingBackend({ deployed, options, env }: Situation): Promise<string[]> {
  const who = await run("pulumi", ["whoami", "--non-interactive"]);
  if (who.code === 127) return ["the Pulumi CLI: install it (npm install --global pulumi brings it)"];
  if (who.code !== 0)
    return ["a login to the Pulumi backend: pulumi login, or set PULUMI_ACCESS_TOKEN or PULUMI_BACKEND_URL"];
  if (deployed.kind === "never" && !deployed.inBackend && !isOwnBackend(env))
    return [`stack ${options.stack} in the Pulumi backend: pulumi stack init ${options.stack}`];
  return [];
}

/** The backend under .switchyard/, which the scripts use where nobody has named another. */
export const isOwnBackend = (env: Env): boolean =>
  env["PULUMI_BACKEND_URL"] === `file://${path.resolve(".switchyard/pulumi")}`;

/** The embedded engine has no clouds. */
const missingMachines = ({ target }: Pick<Config, "target">): string[] =>
  ["aws", "gce"].includes(target)
    ? [`the Pulumi CLI: the embedded engine makes no machines of target ${target}`]
    : [];

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
    ? [`the backend that encrypted the secrets in ${file}: set PULUMI_BACKEND_URL or PULUMI_ACCESS_TOKEN`]
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

/** What explains that the engine failed: credentials that it may have found by itself, so it was run without. */
export function missingAfter({ config, env }: Pick<Situation, "config" | "env">): string[] {
  const has = (...names: string[]) => names.some((name) => (env[name] ?? "") !== "");
  const home = (...names: string[]) => names.some((name) => existsSync(path.join(homedir(), name)));
  switch (config.target as string) {
    case "aws":
      return has("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE") ||
        has("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI") ||
        home(".aws/credentials", ".aws/config")
        ? []
        : ["credentials for AWS: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"];
    case "gce":
      return has("GOOGLE_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_OAUTH_ACCESS_TOKEN") ||
        home(".config/gcloud/application_default_credentials.json")
        ? []
        : [
            "credentials for Google Cloud: gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
          ];
    default:
      return [];
  }
}
