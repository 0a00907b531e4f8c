import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import * as path from "node:path";

import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import * as esbuild from "esbuild";

import { ImageCopy } from "../providers/image-copy";
import { ConfigError } from "./config/value";
import { boundTo, placedOn, type DockerNode } from "./nodes/node";

export interface ImagesArgs {
  /** The image to build upon. */
  readonly base: string;
  /** Docker URL of the engine that has the base images which no registry has. */
  readonly source: string;
  /** Where to push images to, such as `ghcr.io/acme`. Default: nowhere. */
  readonly registry?: string | undefined;
}

/**
 * The images of `templates/`, each built when it is first asked for: on every node, or, where there is a registry, once,
 * on the first one, from where all nodes get it by its digest. Its tag is a hash of all that goes into it, so that a
 * preview shows a change of content as a change of image, and an unchanged one as none.
 */
export class Images {
  private readonly built = new Map<string, pulumi.Output<string>>();
  private readonly brought = new Map<string, ImageCopy>();

  constructor(
    private readonly nodes: readonly DockerNode[],
    private readonly defaults: ImagesArgs,
  ) {
    const [first, ...others] = nodes;
    const other = others.find(({ platform }) => platform !== first?.platform);
    if (defaults.registry === undefined || first === undefined || other === undefined) return;
    throw new ConfigError(
      "registry",
      `is set, but node ${first.name} is ${first.platform} and ${other.name} ${other.platform}`,
      "an image in it is for one platform: leave it unset, and every node builds its own",
    );
  }

  /**
   * Builds a folder of `templates/`; its `src/main.ts`, where there is one, is bundled to `dist/main.js` first. What it is
   * called, `switchyard/<template>:<hash>` or its digest in the registry, is known once it is on all nodes.
   *
   * @param base the image to build upon, instead of the default
   * @throws ConfigError where there is no such template
   */
  build(template: string, { base } = { base: this.defaults.base }): pulumi.Output<string> {
    const before = this.built.get(template);
    if (before !== undefined) return before;

    // Relative, as docker.Image wants it, but to wherever the program runs that uses this.
    const context = path.relative("", path.join(__dirname, "..", "templates", template));
    if (!exists(path.join(context, "Dockerfile"))) {
      throw new ConfigError(
        "services",
        `has build: ${template}`,
        `there is no ${context}/Dockerfile; add it`,
      );
    }
    bundle(context);
    const args = { BASE: base };
    const { registry } = this.defaults;
    const imageName = `${registry ?? "switchyard"}/${template}:${contentHash(context, args)}`;
    const make = (node: DockerNode) =>
      new docker.Image(
        `${node.name}-${template}`,
        { imageName, build: { context, args, platform: node.platform }, skipPush: registry === undefined },
        { ...placedOn(node), dependsOn: this.bring(base, node) },
      );
    const everywhere =
      registry === undefined ? this.onEach(imageName, make) : this.fromRegistry(template, make);
    this.built.set(template, everywhere);
    return everywhere;
  }

  private onEach(imageName: string, make: (node: DockerNode) => docker.Image): pulumi.Output<string> {
    return pulumi.all(this.nodes.map((node) => make(node).imageName)).apply(() => imageName);
  }

  private fromRegistry(template: string, make: (node: DockerNode) => docker.Image): pulumi.Output<string> {
    const [first] = this.nodes.slice(0, 1).map(make);
    if (first === undefined) throw new Error("an image needs a node to be built on");
    const pulled = this.nodes.map(
      (node) =>
        new docker.RemoteImage(
          `${node.name}-${template}`,
          { name: first.repoDigest, keepLocally: true },
          placedOn(node),
        ).imageId,
    );
    return pulumi.all([first.repoDigest, pulumi.all(pulled)]).apply(([digest]) => digest);
  }

  /** Brings a base image that `script/bootstrap` has made to a node; any other is pulled where it is built upon. */
  private bring(image: string, node: DockerNode): pulumi.Resource[] {
    if (!image.startsWith("switchyard/")) return [];
    const name = `${node.name}-${image.replace(/\W+/g, "-")}`;
    const before = this.brought.get(name);
    if (before !== undefined) return [before];
    const args = { image, from: this.defaults.source, host: node.host, sshOpts: node.sshOpts };
    const copy = new ImageCopy(name, args, boundTo(node));
    this.brought.set(name, copy);
    return [copy];
  }
}

/**
 * Bundles a template's TypeScript into the one file that its Dockerfile copies. The same sources give the
 * same bytes; a file that would not change is left alone.
 */
function bundle(context: string): void {
  const entry = path.join(context, "src", "main.ts");
  if (!exists(entry)) return;
  const { outputFiles } = esbuild.buildSync({
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
  if (output === undefined || (exists(file) && readFileSync(file).equals(output.contents))) return;
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, output.contents);
  renameSync(`${file}.new`, file);
}

/** Hash of the files that the build can see (names, modes, contents) and of its arguments. */
export function contentHash(context: string, args: Readonly<Record<string, string>>): string {
  const hash = createHash("sha256").update(JSON.stringify(Object.entries(args).sort()));
  const files = readdirSync(context, { recursive: true, encoding: "utf8" }).filter(
    (file) => !isSource(file) && statSync(path.join(context, file)).isFile(),
  );
  for (const file of files.sort()) {
    const full = path.join(context, file);
    const executable = (statSync(full).mode & 0o100) !== 0;
    hash.update(JSON.stringify([file, executable, readFileSync(full, "base64")]));
  }
  return hash.digest("hex").slice(0, 12);
}

/** Sources reach the image through `dist` alone, and `.dockerignore` keeps them out of the context. */
function isSource(file: string): boolean {
  return /^(src|golden|node_modules)(\/|$)/.test(file);
}

function exists(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false }) !== undefined;
}
