/** The schema of a service's `build`, after Compose's: a folder of templates/, or any folder. */
import { isMapping } from "../../lib/values";
import { good, isShown, wrong, type Checked } from "../../routing/scaling/checked";
import { list, mapping, text, valueAt, verbatimStrings } from "../schema";

const template = /^[a-z0-9]+(-[a-z0-9]+)*$/;
const folder = /^(?:\.{1,2}(?:\/[^\p{Cc}]{0,4000})?|\/[^\p{Cc}]{0,4000})$/u;
const folderForm = 'a folder such as "./web", "../web" or "/srv/web"';

/** A build of a folder that is not in templates/. Paths are as written: relative to the stack file, or to the folder. */
const keys = mapping({
  context: text(folder, folderForm),
  dockerfile: text(/^[^\p{Cc}]{1,4096}$/u, 'a path in the folder such as "Dockerfile.prod"').optional(),
  args: verbatimStrings(/^[A-Za-z_][A-Za-z0-9_]{0,254}$/, "letters, digits and underscores").default({}),
  target: text(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, "the name of a stage of the Dockerfile").optional(),
  platform: text(/^[a-z0-9]+\/[a-z0-9]+(?:\/[a-z0-9.]+)?$/, 'a platform such as "linux/arm64"').optional(),
  secrets: list(text(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,31}$/, "the name of a secret of the stack")).default([]),
});
export interface FolderBuild {
  readonly context: string;
  readonly dockerfile?: string | undefined;
  readonly args: Readonly<Record<string, string>>;
  readonly target?: string | undefined;
  readonly platform?: string | undefined;
  /** Names of the stack's secrets that the build may read. */
  readonly secrets: readonly string[];
}

/** Reads `build`: the name of a folder of templates/, or a build of any other. */
export function readBuild(value: unknown): Checked<string | FolderBuild> {
  if (typeof value === "string" && template.test(value)) return good(value);
  if (typeof value !== "string" && !isMapping(value))
    return wrong([], isShown(value), `it must be the name of a folder of templates/, ${folderForm}, or a mapping`); // prettier-ignore
  if (typeof value === "string" && !folder.test(value))
    return wrong(
      [],
      isShown(value),
      `it must be the name of a folder of templates/, such as "hello", or ${folderForm}`,
    );
  const given = typeof value === "string" ? { context: value } : value;
  const read = keys.safeParse(given);
  if (read.success) return good(read.data);
  const [issue] = read.error.issues;
  if (issue?.code === "unrecognized_keys") return wrong([issue.keys[0] ?? ""], "is not known", issue.message);
  const path = issue?.path ?? [];
  return wrong(path.map(String), isShown(valueAt(given, path)), issue?.message ?? "correct it");
}

/** A build as a preview shows it. */
export function writeBuild(build: string | FolderBuild): string {
  if (typeof build === "string") return `build ${build}`;
  const { context, dockerfile, args, target, platform, secrets } = build;
  return [
    `build ${context}`,
    ...(dockerfile === undefined ? [] : [`dockerfile ${dockerfile}`]),
    ...Object.entries(args).map(([key, arg]) => `${key}=${arg}`),
    ...(target === undefined ? [] : [`target ${target}`]),
    ...(platform === undefined ? [] : [`platform ${platform}`]),
    ...(secrets.length === 0 ? [] : [`secrets ${secrets.join(", ")}`]),
  ].join(", ");
}
