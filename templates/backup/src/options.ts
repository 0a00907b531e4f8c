/** The command line. Pure. */
import { parseArgs } from "node:util";
import { messageOf, UserError } from "../../../lib/errors";
import { isMapping, parseJson } from "../../../lib/values";

/** Where backups are, and whose. */
export interface Place {
  /** A folder, or as restic takes it: `s3:…`, `sftp:…`. */
  readonly repository: string;
  /** The stack, which restic calls the host. */
  readonly host: string;
}

/** How many to keep, by restic's names: `daily`, `weekly`. */
export type Keep = Readonly<Record<string, number>>;

export type Command =
  | (Place & {
      readonly verb: "backup";
      /** Names of folders in /volumes; each gets a snapshot of its own. */
      readonly volumes: readonly string[];
      /** Services, of which the output of a command gets one. */
      readonly dumps: readonly string[];
      readonly keep: Keep;
    })
  | (Place & { readonly verb: "list" })
  | (Place & { readonly verb: "restore"; readonly path: string; readonly snapshot: string; readonly target: string }) // prettier-ignore
  | (Place & {
      readonly verb: "load";
      readonly path: string;
      readonly snapshot: string;
      readonly container: string;
      readonly program: readonly string[];
    })
  | { readonly verb: "dump"; readonly service: string }
  | {
      readonly verb: "docker";
      readonly listen: string;
      readonly programs: Readonly<Record<string, readonly string[]>>;
    };

export const usage = `Usage: backup backup  --repository=REPOSITORY --host=STACK [--volume=NAME]… [--dump=SERVICE]… [--keep=daily=7]…
       backup list    --repository=REPOSITORY --host=STACK
       backup restore --repository=REPOSITORY --host=STACK --path=PATH --snapshot=ID --target=FOLDER
       backup load    --repository=REPOSITORY --host=STACK --path=PATH --snapshot=ID --container=ID --program=JSON
       backup dump    SERVICE
       backup docker  --listen=SOCKET [--program=SERVICE=JSON]…`;

const text = { type: "string" } as const;
const texts = { type: "string", multiple: true, default: [] as string[] } as const;
const flags = {
  repository: text,
  host: text,
  volume: texts,
  dump: texts,
  keep: texts,
  path: text,
  snapshot: text,
  target: text,
  container: text,
  program: texts,
  listen: text,
};

/** @throws UserError with the usage */
export function parseCommand(args: readonly string[]): Command {
  const { values, positionals } = (() => {
    try {
      return parseArgs({ args: [...args], options: flags, allowPositionals: true });
    } catch (error) {
      throw new UserError(`${messageOf(error)}\n${usage}`);
    }
  })();
  const need = (name: "repository" | "host" | "path" | "snapshot" | "target" | "container" | "listen") => {
    const value = values[name];
    if (value === undefined || value === "") throw new UserError(`--${name} is missing\n${usage}`);
    return value;
  };
  const place = () => ({ repository: need("repository"), host: need("host") });
  const [verb, service = ""] = positionals;
  switch (verb) {
    case "backup":
      return {
        verb,
        ...place(),
        volumes: values.volume,
        dumps: values.dump,
        keep: Object.fromEntries(values.keep.map(readKeep)),
      };
    case "list":
      return { verb, ...place() };
    case "restore":
      return { verb, ...place(), path: need("path"), snapshot: need("snapshot"), target: need("target") };
    case "load": {
      const [program = ""] = values.program;
      return {
        verb,
        ...place(),
        path: need("path"),
        snapshot: need("snapshot"),
        container: need("container"),
        program: readProgram(program),
      };
    }
    case "dump":
      return { verb, service };
    case "docker":
      return { verb, listen: need("listen"), programs: Object.fromEntries(values.program.map(readPrograms)) };
    default:
      throw new UserError(usage);
  }
}

function readKeep(value: string): [string, number] {
  const [, key = "", number = ""] = /^([a-z]+)=([0-9]+)$/.exec(value) ?? [];
  if (key === "") throw new UserError(`--keep=${value}: write it as daily=7`);
  return [key, Number(number)];
}

function readPrograms(value: string): [string, readonly string[]] {
  const at = value.indexOf("=");
  return [value.slice(0, at), readProgram(value.slice(at + 1))];
}

function readProgram(value: string): readonly string[] {
  const parsed = parseJson(value);
  const isList =
    Array.isArray(parsed) && parsed.length > 0 && parsed.every((each) => typeof each === "string");
  if (!isList || isMapping(parsed))
    throw new UserError(`--program=${value}: it must be a JSON list of texts`);
  return parsed;
}
