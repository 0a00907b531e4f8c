/** A Docker build context: the files of a folder that `.dockerignore` lets through, in a fixed order, with a hash. */
import { createHash, type Hash } from "node:crypto";
import {
  closeSync,
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
} from "node:fs";
import path from "node:path";
import ignore from "@balena/dockerignore";
import { messageOf, UserError } from "./errors";

/** An entry of an archive. Without `content`, `file` and `link` it is a directory. */
export interface Entry {
  /** With `/`, relative to the archive's root. */
  readonly path: string;
  readonly mode: number;
  readonly content?: Buffer;
  /** A file that has the content, which may not fit into memory. */
  readonly file?: { readonly path: string; readonly size: number };
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
const CHUNK_BYTES = 1024 * 1024;

/**
 * Reads a build context.
 *
 * @param dockerfile may be outside the context, and is then added to it. Default: `Dockerfile` in the context
 * @throws UserError if there is no Dockerfile, or a file cannot be read
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
  try {
    return read(context, dockerfile);
  } catch (error) {
    throw new UserError(
      `The build context ${context} cannot be read (${messageOf(error)}): correct it, or leave files out with a .dockerignore.`,
    );
  }
}

function read(context: string, dockerfile: string): BuildContext {
  // Like BuildKit, prefer the ignore file of this Dockerfile.
  const ignoreFiles = [`${dockerfile}.dockerignore`, path.join(context, ".dockerignore")];
  const ignoreFile = ignoreFiles.find((file) => existsSync(file));
  const lines = ignoreFile === undefined ? "" : readFileSync(ignoreFile, "utf8");
  const rules = ignore({ ignorecase: false }).add(lines);
  const inside = path.relative(context, dockerfile).split(path.sep).join("/");
  const outside = inside.startsWith("../");
  const always = [inside, ".dockerignore"];
  // A later "!" rule may include something below an ignored directory.
  const walksIgnored = /^\s*!/m.test(lines);
  const entries: Entry[] = [];
  // The project's own state and passphrase are for no image, and change while `up` runs.
  const ownState = path.resolve(".switchyard");

  const walk = (folder: string): void => {
    for (const name of readdirSync(path.join(context, folder)).sort()) {
      const file = folder === "" ? name : `${folder}/${name}`;
      const full = path.join(context, file);
      if (path.resolve(full) === ownState) continue;
      const stat = lstatSync(full);
      const mode = stat.mode & 0o777;
      const ignored = rules.ignores(file) && !always.includes(file);
      if (stat.isDirectory()) {
        if (!ignored) entries.push({ path: file, mode });
        if (!ignored || walksIgnored || always.some((each) => each.startsWith(`${file}/`))) walk(file);
      } else if (ignored) continue;
      else if (stat.isSymbolicLink()) entries.push({ path: file, mode, link: readlinkSync(full) });
      else if (stat.isFile()) entries.push({ path: file, mode, file: { path: full, size: stat.size } });
    }
  };
  walk("");
  if (outside) entries.push({ path: OUTSIDE, mode: 0o644, content: readFileSync(dockerfile) });

  const hash = createHash("sha256");
  for (const { path: name, mode, content, file, link } of entries) {
    const size = content?.length ?? file?.size ?? null;
    const executable = size !== null && (mode & 0o100) !== 0;
    hash.update(JSON.stringify([name, executable, link ?? null, size]));
    if (content !== undefined) hash.update(content);
    if (file !== undefined) addFile(hash, file.path);
  }
  return { entries, dockerfile: outside ? OUTSIDE : inside, digest: hash.digest("hex") };
}

function addFile(hash: Hash, file: string): void {
  const descriptor = openSync(file, "r");
  try {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    for (let count; (count = readSync(descriptor, chunk)) > 0;) hash.update(chunk.subarray(0, count));
  } finally {
    closeSync(descriptor);
  }
}
