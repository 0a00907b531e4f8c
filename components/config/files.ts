/** The schema of `secrets` and `configs`, after Compose's: those of the stack, and those that a service mounts. */
import { z } from "zod";

import { isMapping } from "../../lib/values";
import { good, isShown, unknownIn, wrong, type Checked } from "../../routing/scaling/checked";
import { mapping, mistake, text } from "../schema";

/** What Docker takes. */
export const mostBytes = 500 * 1024;

const fileName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,31}$/;
const nameForm = "at most 32 letters, digits, dots, dashes and underscores";

const named = <T extends z.ZodType>(value: T) =>
  z.record(z.string().regex(fileName, { error: `it must be named by ${nameForm}` }), value, {
    error: "it must be a mapping of keys to values",
  });

/** Checked elsewhere for being encrypted. */
const secret = z
  .string({ error: "it must be text: set it with --secret, or put it in quotes" })
  .refine((value) => value !== "" && Buffer.byteLength(value) <= mostBytes, {
    error: "it must have 1 byte to 500 KiB",
  });
export const stackSecrets = named(secret);

const configFile = mapping({
  file: text(/^[^\p{Cc}]{1,4096}$/u, 'a path such as "./nginx.conf"').optional(),
  content: z.string({ error: "it must be text" }).min(1, { error: "it must not be empty" }).optional(),
}).check(({ value, issues }) => {
  if ((value.file === undefined) === (value.content === undefined))
    issues.push(mistake([], "needs either file or content", "set one of the two"));
});
export type ConfigFile = z.output<typeof configFile>;
export const stackConfigs = named(configFile);

/** A secret or config of the stack as a service mounts it. */
export interface FileReference {
  readonly source: string;
  /** An absolute path; for secrets also one relative to /run/secrets. */
  readonly target: string;
  readonly uid?: string;
  readonly gid?: string;
  readonly mode?: number;
}

const keys = ["source", "target", "uid", "gid", "mode"] as const;

/** Reads an entry of `secrets` or `configs` of a service: a name, or a mapping. */
export const readReference =
  (kind: "secret" | "config") =>
  (value: unknown): Checked<FileReference> => {
    const given = typeof value === "string" ? { source: value } : value;
    if (!isMapping(given)) return wrong([], isShown(value), `it must be the name of a ${kind}, or a mapping`);
    const unknown = unknownIn(given, keys);
    if (unknown !== undefined) return { ok: false, mistake: unknown };
    const { source, mode } = given;
    const at = typeof value === "string" ? [] : ["source"];
    if (typeof source !== "string" || !fileName.test(source))
      return wrong(at, isShown(source), `it must be the name of a ${kind}: ${nameForm}`);
    const { target = kind === "secret" ? source : `/${source}` } = given;
    const form = kind === "secret" ? /^(?:\/|[^/])/ : /^\//;
    if (
      typeof target !== "string" ||
      !form.test(target) ||
      !/^[^\p{Cc}]{1,255}$/u.test(target) ||
      /(^|\/)\.\.(\/|$)/.test(target)
    )
      // prettier-ignore
      return wrong(["target"], isShown(target), "it must be an absolute path in the container");
    const ids: { uid?: string; gid?: string } = {};
    for (const key of ["uid", "gid"] as const) {
      const id = given[key];
      if (id === undefined) continue;
      const digits = typeof id === "number" ? `${id}` : id;
      if (typeof digits !== "string" || !/^[0-9]{1,7}$/.test(digits))
        return wrong([key], isShown(id), "it must be a number, such as 999");
      ids[key] = digits;
    }
    if (mode !== undefined && !(typeof mode === "string" && /^0?[0-7]{3}$/.test(mode)))
      return wrong(["mode"], isShown(mode), 'it must be permissions in quotes, such as "0440"');
    return good({ source, target, ...ids, ...(mode !== undefined && { mode: Number.parseInt(mode, 8) }) });
  };

/** A reference as it was given, in short. */
export const writeReference = ({ source, target, uid, gid, mode }: FileReference): string =>
  [
    source,
    ...(target === source || target === `/${source}` ? [] : [`at ${target}`]),
    ...(uid === undefined && gid === undefined ? [] : [`of ${uid ?? 0}:${gid ?? 0}`]),
    ...(mode === undefined ? [] : [`mode ${mode.toString(8)}`]),
  ].join(" ");
