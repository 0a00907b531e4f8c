import * as pulumi from "@pulumi/pulumi";
import type Docker from "dockerode";
import { archiveOf } from "../../lib/archive";
import { readBuildContext } from "../../lib/build-context";
import { loginFor, registryOf, type Logins } from "../../lib/credentials";
import { messageOf, UserError } from "../../lib/errors";
import { digestOf, finished, pushImage } from "../../lib/images";
import { given } from "../../lib/values";
import { api, connect, sameSsh, unless } from "../client";
import { DynamicResource } from "../dynamic-resource";
import { openSession } from "./session";
import { textOf } from "./trace";
import { escapeLines } from "../../lib/text";

export interface ImageBuildArgs {
  /** The Docker URL of the engine that builds it, with options of `ssh`. */
  readonly host: pulumi.Input<string>;
  readonly sshOpts?: pulumi.Input<readonly string[]> | undefined;
  /** Its name, with a tag that says what it is built from. */
  readonly imageName: string;
  /** Absolute paths of this machine. */
  readonly context: string;
  readonly dockerfile: string;
  /** The hash of the context's files. */
  readonly contextDigest: string;
  readonly args?: Readonly<Record<string, string>> | undefined;
  readonly target?: string | undefined;
  readonly platform?: string | undefined;
  /** Files for `RUN --mount=type=secret`, by ID. */
  readonly secrets?: pulumi.Input<Readonly<Record<string, string>>> | undefined;
  /** Logins for registries, beside those of `docker login`. */
  readonly logins?: pulumi.Input<Logins> | undefined;
  /** Whether to push it to the registry that it is named after. */
  readonly push: boolean;
}

interface BuildInputs {
  readonly host: string;
  readonly sshOpts?: readonly string[];
  readonly imageName: string;
  readonly context: string;
  readonly dockerfile: string;
  readonly contextDigest: string;
  readonly args?: Readonly<Record<string, string>>;
  readonly target?: string;
  readonly platform?: string;
  readonly secrets?: Readonly<Record<string, string>>;
  readonly logins?: Logins;
  readonly push: boolean;
}

interface BuildState extends BuildInputs {
  /** How nodes name the image: its digest in the registry, or `imageName`. */
  readonly reference: string;
}

/** Lines of a failed build that are shown. */
const SHOWN_LINES = 20;
const KEPT_CHARACTERS = 100_000;
const MASK = "[secret]";

/** Text without the secrets that a program of the build has shown. */
function withoutSecrets(text: string, secrets: Readonly<Record<string, string>>): string {
  const lines = Object.values(secrets).flatMap((secret) => secret.split(/\r?\n/).map((line) => line.trim()));
  return lines.filter((line) => line.length > 3).reduce((shown, line) => shown.replaceAll(line, MASK), text);
}

async function send(docker: Docker, inputs: BuildInputs): Promise<void> {
  const { imageName, context, contextDigest, secrets = {}, logins } = inputs;
  const { entries, dockerfile, digest } = readBuildContext(context, inputs.dockerfile);
  if (digest !== contextDigest) {
    throw new UserError(`The files in ${context} changed while \`up\` ran: run it again.`);
  }
  const session = await openSession(docker, {
    secrets,
    loginFor: (registry) => loginFor(registry, logins),
  });
  let log = "";
  try {
    const stream = await new Promise<NodeJS.ReadableStream>((resolve, reject) => {
      const options = {
        path: "/build?",
        method: "POST",
        file: archiveOf(entries),
        isStream: true,
        statusCodes: { 200: true },
        options: given({
          version: "2",
          session: session.id,
          t: imageName,
          dockerfile,
          buildargs: JSON.stringify(inputs.args ?? {}),
          target: inputs.target,
          platform: inputs.platform,
        }),
      };
      docker.modem.dial(options, (error: unknown, data: unknown) => {
        if (error === null || error === undefined) resolve(data as NodeJS.ReadableStream);
        else reject(error instanceof Error ? error : new Error(messageOf(error)));
      });
    });
    await finished(docker, stream, (progress) => {
      log = (log + textOf(progress)).slice(-KEPT_CHARACTERS);
    });
  } catch (error) {
    const hidden = withoutSecrets(`${messageOf(error)}\n${log.trimEnd()}`, secrets);
    // Without its colours, a line may contain a secret again.
    const [why = "", ...lines] = withoutSecrets(escapeLines(hidden), secrets).split("\n");
    throw new UserError(
      `The build of ${context} on ${inputs.host} failed: ${[why, ...lines.slice(-SHOWN_LINES)].join("\n")}`,
    );
  } finally {
    session.close();
  }
}

async function build(inputs: BuildInputs): Promise<BuildState> {
  const { host, sshOpts, imageName, push, logins } = inputs;
  // No time limit: a build may be silent for long.
  const docker = connect(host, { answerTimeoutMs: 0, sshOpts });
  await send(docker, inputs);
  if (!push) return { ...inputs, reference: imageName };
  await pushImage(docker, imageName, await loginFor(registryOf(imageName), logins));
  const digest = await digestOf(docker, imageName);
  if (digest === undefined) throw new Error(`${imageName} has no digest after it was pushed`);
  return { ...inputs, reference: digest };
}

export const imageBuildProvider: pulumi.dynamic.ResourceProvider<BuildInputs, BuildState> = {
  async create(inputs) {
    return { id: inputs.imageName, outs: await build(inputs) };
  },
  async read(id, props) {
    if (props === undefined) throw new Error(`import of an ImageBuild (${id}) is not supported`);
    const path = `/images/${props.imageName}/json`;
    const found = await unless([404], api(connect(props.host, props), "GET", path));
    return { id: found === undefined ? "" : id, props };
  },
  diff(_id, olds, news) {
    // The tag is a hash of the files and of everything else that makes the image.
    const changed = (["imageName", "host", "push"] as const).some((key) => olds[key] !== news[key]);
    return Promise.resolve({ changes: changed || !sameSsh(olds, news) });
  },
  async update(_id, _olds, news) {
    return { outs: await build(news) };
  },
  // Another stack or an instance may use it.
  delete: () => Promise.resolve(),
};

/** An image that a node's engine builds with BuildKit from any folder. */
export class ImageBuild extends DynamicResource {
  /** How nodes name the image: its digest in the registry, or `imageName`. */
  declare readonly reference: pulumi.Output<string>;

  constructor(name: string, args: ImageBuildArgs, opts?: pulumi.CustomResourceOptions) {
    super(
      { file: __filename, provider: "imageBuildProvider" },
      name,
      { ...args, reference: undefined },
      opts,
      "ImageBuild",
    );
  }
}
