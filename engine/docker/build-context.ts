/** The files of a build context: .dockerignore honoured, in a fixed order, with a hash over names, modes and contents. */
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import path from "node:path";
import { UserError } from "../errors";
import type { Entry } from "./tar";

interface Rule {
  readonly pattern: RegExp;
  readonly keep: boolean;
}

/** One line of a .dockerignore: Go's filepath.Match plus `**`; a match of a directory is one of all below it. */
function ruleOf(line: string): Rule {
  const keep = line.startsWith("!");
  const cleaned = path.posix.normalize((keep ? line.slice(1) : line).trim()).replace(/^\/+|\/+$/g, "");
  const source = cleaned.replace(/\*\*\/|\*\*|\*|\?|\[[^\]]*\]|[.+^${}()|\\]/g, (token) => {
    if (token === "**/") return "(?:.*/)?";
    if (token === "**") return ".*";
    if (token === "*") return "[^/]*";
    if (token === "?") return "[^/]";
    return token.startsWith("[") ? token : `\\${token}`;
  });
  return { keep, pattern: new RegExp(`^${source}(?:/.*)?$`) };
}

/** Whether a path (with `/`, relative to the context) is left out; the last rule that matches decides. */
export function ignorer(dockerignore: string): (file: string) => boolean {
  const rules = dockerignore
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map(ruleOf);
  return (file) => rules.reduce((ignored, rule) => (rule.pattern.test(file) ? !rule.keep : ignored), false);
}

export interface BuildContext {
  readonly entries: Entry[];
  /** The Dockerfile's path inside the archive. */
  readonly dockerfile: string;
  readonly digest: string;
}

const OUTSIDE = ".switchyard.Dockerfile";

export function buildContext(context: string, dockerfile: string): BuildContext {
  if (!existsSync(dockerfile)) {
    throw new UserError(
      `There is no Dockerfile at ${dockerfile} (the path is relative to the project): correct it.`,
    );
  }
  const ignoreFile = [`${dockerfile}.dockerignore`, path.join(context, ".dockerignore")].find((f) =>
    existsSync(f),
  );
  const ignored = ignorer(ignoreFile ? readFileSync(ignoreFile, "utf8") : "");
  const inside = path.relative(context, dockerfile).split(path.sep).join("/");
  const needed = new Set([inside, ".dockerignore"]);
  const entries: Entry[] = [];

  const walk = (folder: string): void => {
    for (const name of readdirSync(path.join(context, folder)).sort()) {
      const file = folder === "" ? name : `${folder}/${name}`;
      const full = path.join(context, file);
      const stat = lstatSync(full);
      const mode = stat.mode & 0o777;
      const left = ignored(file) && !needed.has(file);
      if (stat.isDirectory()) {
        // A later "!" rule may bring back something below an ignored directory.
        if (!left) entries.push({ path: file, mode, directory: true });
        walk(file);
      } else if (left) continue;
      else if (stat.isSymbolicLink()) entries.push({ path: file, mode, link: readlinkSync(full) });
      else if (stat.isFile()) entries.push({ path: file, mode, content: readFileSync(full) });
    }
  };
  walk("");

  const outside = inside.startsWith("../");
  if (outside) entries.push({ path: OUTSIDE, mode: 0o644, content: readFileSync(dockerfile) });
  const hash = createHash("sha256");
  for (const { path: file, mode, content, link } of entries) {
    hash.update(JSON.stringify([file, mode, link ?? null, content?.length ?? null]));
    if (content) hash.update(content);
  }
  return { entries, dockerfile: outside ? OUTSIDE : inside, digest: hash.digest("hex") };
}
