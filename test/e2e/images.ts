import { join } from "node:path";

import { buildSync } from "esbuild";

import { baseImage } from "./bases";
import { docker } from "./docker";

/** Builds the image of a template from the working tree, under a tag of its own, and returns the tag. */
export async function buildImage(template: string, tag: string): Promise<string> {
  const context = join(__dirname, "../../templates", template);
  buildSync({
    entryPoints: [join(context, "src/main.ts")],
    outfile: join(context, "dist/main.js"),
    bundle: true,
    platform: "node",
    target: "node20",
    format: "cjs",
  });
  await docker("build", "-q", "--build-arg", `BASE=${baseImage}`, "-t", tag, context);
  return tag;
}
