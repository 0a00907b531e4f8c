import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import * as path from "node:path";

import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import * as esbuild from "esbuild";

import { readBuildContext } from "../lib/build-context";
import { loginsFor, registryOf, type Logins } from "../lib/credentials";
import { canonical } from "../lib/values";
import { ImageBuild } from "../providers/image-build/provider";
import { ImageCopy } from "../providers/image-copy";
import { ImagePull } from "../providers/image-pull";
import type { FolderBuild } from "./config/build";
import { boundTo, placedOn, type DockerNode } from "./nodes/node";
import { configError } from "./schema";

export interface ImagesArgs {
  /** The base image. */
  readonly base: string;
  /** Docker URL of the engine that holds the base images that are in no registry. */
  readonly source: string;
  /** Where to push images, such as `ghcr.io/acme`. Default: nowhere. */
  readonly registry?: string | undefined;
  /** The stack's secrets, which builds may name. */
  readonly secrets?: Readonly<Record<string, string>> | undefined;
  /** Logins for registries, by host. Default: those of `docker login`. */
  readonly logins?: Logins | undefined;
}

/**
 * The images in `templates/` and of services' own folders, each built on first use. Without a registry every node builds it; with one, the first node
 * builds and pushes it, and every node pulls it by digest. The tag is a hash of everything the build sees, so a preview
 * shows a change of content as a change of image.
 */
export class Images {
  /** By template, then by base image: the image's name on each node, by the node's name. */
  private readonly built = new Map<string, Map<string, ReadonlyMap<string, pulumi.Output<string>>>>();
  /** By what they are built from, the images of other folders. */
  private readonly folders = new Map<string, pulumi.Output<string>>();
  private readonly copied = new Map<string, ImageCopy>();

  constructor(
    private readonly nodes: readonly DockerNode[],
    private readonly defaults: ImagesArgs,
  ) {
    const [first, ...others] = nodes;
    const other = others.find(({ platform }) => platform !== first?.platform);
    if (defaults.registry === undefined || first === undefined || other === undefined) return;
    throw configError(
      "registry",
      `is set, but node ${first.name} runs ${first.platform} and node ${other.name} runs ${other.platform}`,
      "unset it, so that every node builds images for its own platform",
    );
  }

  /**
   * Builds a folder of `templates/`, first bundling its `src/main.ts`, if any, into `dist/main.js`. The output resolves once
   * the image is on all nodes: to `switchyard/<template>:<hash>`, or to its digest in the registry.
   *
   * @param base the base image. Default: the constructor's
   * @throws UserError if the template does not exist
   */
  build(template: string, { base } = { base: this.defaults.base }): pulumi.Output<string> {
    const everywhere = [...this.onEachNode(template, base).values()];
    return pulumi.all(everywhere).apply(([name = ""]) => name);
  }

  /** As {@link build}, but resolves once the image is on one node, for a container of that node. */
  buildOn(node: DockerNode, template: string): pulumi.Output<string> {
    const name = this.onEachNode(template, this.defaults.base).get(node.name);
    if (name === undefined) throw new Error(`${node.name} is none of the nodes that get images`);
    return name;
  }

  /**
   * The image of a service: a folder of `templates/`, or any other, which BuildKit builds. Services with equal builds share it.
   *
   * @throws UserError if the folder or its Dockerfile does not exist
   */
  of(service: string, build: string | FolderBuild): pulumi.Output<string> {
    if (typeof build === "string") return this.build(build);
    const key = canonical(build);
    const image = this.folders.get(key) ?? this.buildFolder(service, build);
    this.folders.set(key, image);
    return image;
  }

  private buildFolder(service: string, build: FolderBuild): pulumi.Output<string> {
    const { args, target, platform, secrets } = build;
    const context = path.resolve(build.context);
    const dockerfile = path.resolve(context, build.dockerfile ?? "Dockerfile");
    if (!existsSync(dockerfile))
      throw configError(
        "services",
        `: ${service} has build: ${build.context}`,
        `add ${dockerfile}, which does not exist`,
      );
    const { registry, secrets: known = {} } = this.defaults;
    const { digest, dockerfile: file } = readBuildContext(context, dockerfile);
    const tag = hashOf(digest, canonical({ file, args, target, platform }));
    const imageName = `${registry ?? "switchyard"}/${service}:${tag}`;
    const make = (node: DockerNode) =>
      new ImageBuild(
        `${node.name}-build-${service}`,
        {
          host: node.host,
          sshOpts: node.sshOpts,
          imageName,
          context,
          dockerfile,
          contextDigest: digest,
          args,
          target,
          platform: platform ?? node.platform,
          ...(secrets.length > 0 && {
            secrets: pulumi.secret(Object.fromEntries(secrets.map((name) => [name, known[name] ?? ""]))),
          }),
          ...this.logins,
          push: registry !== undefined,
        },
        boundTo(node),
      ).reference;
    const names = registry === undefined ? this.byNode(make) : this.fromRegistry(`build-${service}`, make);
    return pulumi.all([...names.values()]).apply(([name = ""]) => name);
  }

  private onEachNode(template: string, base: string): ReadonlyMap<string, pulumi.Output<string>> {
    const byBase = this.built.get(template) ?? new Map<string, ReadonlyMap<string, pulumi.Output<string>>>();
    this.built.set(template, byBase);
    const before = byBase.get(base);
    if (before !== undefined) return before;

    const { context, args, tag } = prepare(template, base);
    const { registry } = this.defaults;
    const imageName = `${registry ?? "switchyard"}/${template}:${tag}`;
    // The first base image gets the resource name without a hash.
    const suffix = byBase.size === 0 ? template : `${template}-${hashOf(base)}`;
    const make = (node: DockerNode) =>
      new docker.Image(
        `${node.name}-${suffix}`,
        {
          imageName,
          build: { context, args, platform: node.platform },
          skipPush: registry === undefined,
          ...this.pushLogin(imageName),
        },
        { ...placedOn(node), dependsOn: this.copyBase(base, node) },
      );
    const names =
      registry === undefined
        ? this.byNode((node) => make(node).imageName.apply(() => imageName))
        : this.fromRegistry(suffix, (node) => make(node).repoDigest);
    byBase.set(base, names);
    return names;
  }

  private byNode(nameOn: (node: DockerNode) => pulumi.Output<string>) {
    return new Map(this.nodes.map((node) => [node.name, nameOn(node)] as const));
  }

  private get logins(): { readonly logins?: pulumi.Output<Logins> } {
    const { logins = {} } = this.defaults;
    return Object.keys(logins).length === 0 ? {} : { logins: pulumi.secret(logins) };
  }

  /** The login to push an image with; none for that of `docker login`. */
  private pushLogin(imageName: string) {
    const server = registryOf(imageName);
    const [login] = Object.values(loginsFor(server, this.defaults.logins ?? {}));
    return (
      login && { registry: { server, username: login.username, password: pulumi.secret(login.password) } }
    );
  }

  /** Builds on the first node, from which the registry has the image. */
  private fromRegistry(suffix: string, build: (node: DockerNode) => pulumi.Output<string>) {
    const [digest] = this.nodes.slice(0, 1).map(build);
    if (digest === undefined) throw new Error("an image needs a node to be built on");
    return this.byNode((node) => {
      const { host, sshOpts } = node;
      const args = { image: digest, host, sshOpts, ...this.logins };
      return new ImagePull(`${node.name}-${suffix}`, args, boundTo(node)).image;
    });
  }

  /** Copies a base image that `script/bootstrap` built to a node. The build itself pulls any other base image. */
  private copyBase(image: string, node: DockerNode): pulumi.Resource[] {
    if (!image.startsWith("switchyard/")) return [];
    const name = `${node.name}-${image.replace(/\W+/g, "-")}`;
    const before = this.copied.get(name);
    if (before !== undefined) return [before];
    const args = { image, from: this.defaults.source, host: node.host, sshOpts: node.sshOpts };
    const copy = new ImageCopy(name, args, boundTo(node));
    this.copied.set(name, copy);
    return [copy];
  }
}

/**
 * Makes a folder of `templates/` ready to be built. The tag is a hash of all that the build sees.
 *
 * @throws UserError if the template does not exist
 */
export function prepare(template: string, base: string) {
  // docker.Image needs a path relative to the running program's folder.
  const context = path.relative("", path.join(__dirname, "..", "templates", template));
  if (!existsSync(path.join(context, "Dockerfile"))) {
    throw configError(
      "services",
      `has build: ${template}`,
      `add ${context}/Dockerfile, which does not exist`,
    );
  }
  bundle(context);
  const args = { BASE: base };
  return { context, args, tag: hashOf(readBuildContext(context).digest, JSON.stringify(args)) };
}

/**
 * Bundles a template's TypeScript into the single file that its Dockerfile copies. Equal sources give equal bytes, and an
 * unchanged bundle is not rewritten.
 */
function bundle(context: string): void {
  const entry = path.join(context, "src", "main.ts");
  if (!existsSync(entry)) return;
  const { outputFiles } = esbuild.buildSync({
    // By default, the folder in which esbuild was first used.
    absWorkingDir: process.cwd(),
    entryPoints: [entry],
    bundle: true,
    platform: "node",
    target: "node20",
    format: "cjs",
    write: false,
    logLevel: "silent",
  });
  const [output] = outputFiles;
  const file = path.join(context, "dist", "main.js");
  if (output === undefined || (existsSync(file) && readFileSync(file).equals(output.contents))) return;
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, output.contents);
  renameSync(`${file}.new`, file);
}

function hashOf(...parts: readonly string[]): string {
  return createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 12);
}
