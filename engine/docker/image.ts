import path from "node:path";
import type Docker from "dockerode";
import { changedKeys } from "../diff";
import { messageOf, UserError } from "../../lib/errors";
import { isMapping } from "../../lib/values";
import { hasUnknown, type WireMap } from "../wire";
import { readBuildContext } from "../../lib/build-context";
import { credentialsFor, registryOf, type Login } from "../../lib/credentials";
import type { Context, Handler, Made } from "./handler";
import { archiveOf } from "../../lib/archive";
import { finished, pushImage } from "../../lib/images";
import { flag, given, orGone, record, text, texts } from "./values";
import { escapeLines } from "../../lib/text";

const BUILD_INPUTS = [
  "addHosts", "args", "builderVersion", "cacheFrom", "context", "dockerfile", "network", "platform", "target",
]; // prettier-ignore

/** Builds run one at a time, so that images with the same first steps share layers. */
let lastBuild: Promise<unknown> = Promise.resolve();

function buildOf(news: WireMap): WireMap {
  const build = isMapping(news.build) ? news.build : {};
  const context = text(build.context) ?? ".";
  return { ...build, context, dockerfile: text(build.dockerfile) ?? path.join(context, "Dockerfile") };
}

async function built(
  docker: Docker,
  stream: NodeJS.ReadableStream,
  say: (line: string) => void,
): Promise<void> {
  const tail: string[] = [];
  try {
    await finished(docker, stream, ({ stream: line }) => {
      if (line === undefined) return;
      tail.push(line);
      if (line.startsWith("Step ")) say(line.trim());
    });
  } catch (error) {
    throw new UserError(
      `The build failed: ${messageOf(error)}\n${escapeLines(tail.slice(-20).join("")).trimEnd()}`,
    );
  }
}

async function build({ docker, say, host }: Context, news: WireMap): Promise<Made> {
  const name = text(news.imageName) ?? "";
  const options = buildOf(news);
  const { entries, dockerfile } = readBuildContext(
    text(options.context) ?? ".",
    text(options.dockerfile) ?? "",
  );
  const asked = isMapping(news.build) ? text(news.build.platform) : undefined;
  const cacheFrom = isMapping(options.cacheFrom) ? texts(options.cacheFrom.images) : [];
  const run = async (): Promise<void> => {
    const stream = await docker.buildImage(
      archiveOf(entries),
      given({
        t: name,
        dockerfile,
        buildargs: record(options.args),
        target: text(options.target),
        platform: asked,
        networkmode: text(options.network),
        extrahosts: options.addHosts === undefined ? undefined : texts(options.addHosts).join(","),
        cachefrom: cacheFrom.length > 0 ? JSON.stringify(cacheFrom) : undefined,
        rm: true,
        forcerm: true,
      }) as Docker.ImageBuildOptions,
    );
    await built(docker, stream, say);
  };
  const mine = lastBuild.then(run, run);
  lastBuild = mine;
  try {
    await mine;
  } catch (error) {
    throw error instanceof UserError ? error : new Error(`Building ${name} on ${host}: ${messageOf(error)}`);
  }
  if (flag(news.skipPush) !== true) await pushImage(docker, name, await loginOf(name, news));
  const info = await docker.getImage(name).inspect();
  const repository = name.replace(/:[^:/]*$/, "");
  const digest = (info.RepoDigests as string[] | null)?.find((known) => known.startsWith(`${repository}@`));
  return {
    id: name,
    outputs: {
      ...news,
      baseImageName: name,
      registryServer: "",
      context: text(options.context) ?? ".",
      dockerfile,
      platform: asked ?? `${info.Os}/${info.Architecture}`,
      repoDigest: digest ?? info.Id,
    },
  };
}

/** The login to push with: the resource's own, or else that of `docker login`. */
async function loginOf(name: string, { registry: own }: WireMap): Promise<Login | undefined> {
  const { username, password } = record(own);
  if (username === undefined || password === undefined) return credentialsFor(registryOf(name));
  return { username, password, serveraddress: registryOf(name) };
}

export const image: Handler = {
  inputs: ["build", "buildOnPreview", "imageName", "registry", "skipPush"],
  check({ name }, _olds, news) {
    const options = buildOf(news);
    const unknown = Object.keys(options).find((key) => !BUILD_INPUTS.includes(key));
    if (unknown !== undefined) {
      throw new UserError(
        `\`build.${unknown}\` of image "${name}" is not supported by the embedded engine: remove it.`,
      );
    }
    if (hasUnknown(options.context) || hasUnknown(options.dockerfile)) return { ...news, build: options };
    const { digest } = readBuildContext(text(options.context) ?? "", text(options.dockerfile) ?? "");
    return { ...news, build: { ...options, contextDigest: digest } };
  },
  diff: (olds, news) => ({ changed: changedKeys(olds, news), replaces: [], deleteBeforeReplace: false }),
  create: build,
  update: async (context, _old, news) => (await build(context, news)).outputs,
  // Like the real provider, keep the image: other stacks and the next `up` may use it.
  delete: () => Promise.resolve(),
  async refresh({ docker }, old) {
    return (await orGone(docker.getImage(text(old.inputs.imageName) ?? "").inspect())) && [];
  },
};
