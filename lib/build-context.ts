/** A Docker build context: the files of a folder that `.dockerignore` lets through, in a fixed order, with a hash. */
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import path from "node:path";
import ignore from "@balena/dockerignore";
import { UserError } from "./errors";

/** An entry of an archive. Without `content` and `link` it is a directory. */
export interface Entry {
  /** With `/`, relative to the archive's root. */
  readonly path: string;
  readonly mode: number;
  readonly content?: Buffer;
  /** Target of a symbolic link. */
  readonly link?: string;
}

export interface BuildContext {
  readonly entries: readonly Entry[];
  /** The Dockerfile's path inside the archive. */
  readonly dockerfile: string;
  /** Hash of names, contents, links and, as in git, whether a file is executable. */
  readonly digest: string;
}

const OUTSIDE = ".switchyard.Dockerfile";

/**
 * Reads a build context.
 *
 * @param dockerfile may be outside the context, and is then added to it. Default: `Dockerfile` in the context
 * @throws UserError if there is no Dockerfile
 */
export function readBuildContext(
  context: string,
  dockerfile = path.join(context, "Dockerfile"),
): BuildContext {
  if (!existsSync(dockerfile)) {
    throw new UserError(
      `There is no Dockerfile at ${dockerfile} (the path is relative to the project): correct it.`,
    );
  }
  // Like BuildKit, prefer the ignore file of this Dockerfile.
  const ignoreFiles = [`${dockerfile}.dockerignore`, path.join(context, ".dockerignore")];
  const ignoreFile = ignoreFiles.find((file) => existsSync(file));
  const rules = ignore({ ignorecase: false }).add(
    ignoreFile === undefined ? "" : readFileSync(ignoreFile, "utf8"),
  );
  const inside = path.relative(context, dockerfile).split(path.sep).join("/");
  const outside = inside.startsWith("../");
  const always = [inside, ".dockerignore"];
  const entries: Entry[] = [];

  const walk = (folder: string): void => {
    for (const name of readdirSync(path.join(context, folder)).sort()) {
      const file = folder === "" ? name : `${folder}/${name}`;
      const full = path.join(context, file);
      const stat = lstatSync(full);
      const mode = stat.mode & 0o777;
      const ignored = rules.ignores(file) && !always.includes(file);
      if (stat.isDirectory()) {
        if (!ignored) entries.push({ path: file, mode });
        // A later "!" rule may include something below an ignored directory.
        walk(file);
      } else if (ignored) continue;
      else if (stat.isSymbolicLink()) entries.push({ path: file, mode, link: readlinkSync(full) });
      else if (stat.isFile()) entries.push({ path: file, mode, content: readFileSync(full) });
    }
  };
  walk("");
  if (outside) entries.push({ path: OUTSIDE, mode: 0o644, content: readFileSync(dockerfile) });

  const hash = createHash("sha256");
  for (const { path: file, mode, content, link } of entries) {
    const executable = content !== undefined && (mode & 0o100) !== 0;
    hash.update(JSON.stringify([file, executable, link ?? null, content?.length ?? null]));
    if (content !== undefined) hash.update(content);
  }
  return { entries, dockerfile: outside ? OUTSIDE : inside, digest: hash.digest("hex") };
}
