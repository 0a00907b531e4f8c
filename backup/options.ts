/** The command lines of `script/backup` and `script/restore`. Pure. */
import { parseArgs } from "node:util";
import { messageOf, UserError } from "../lib/errors";

export const usage = `Usage: script/backup SERVICE|VOLUME [TO]
       script/restore SERVICE|VOLUME [FROM] [--snapshot ID] [--list] [--yes]

TO and FROM are a folder of the node that has the volume, such as /srv/backups, or s3:… or sftp:… as restic has them. Default:
what backup.to of the service says.
  --snapshot ID   the snapshot to restore; default: the latest
  --list          shows the stack's snapshots and restores nothing
  --yes           does not ask before it stops services and replaces their data`;

export interface Options {
  readonly verb: "backup" | "restore";
  readonly name: string;
  readonly repository: string | undefined;
  readonly snapshot: string;
  readonly list: boolean;
  readonly yes: boolean;
}

/** @throws UserError with the usage */
export function parseOptions(args: readonly string[]): Options | "help" {
  const [verb, ...rest] = args;
  try {
    const { values, positionals } = parseArgs({
      args: rest,
      allowPositionals: true,
      options: {
        ...(verb === "restore" && {
          snapshot: { type: "string", default: "latest" },
          list: { type: "boolean", default: false },
          yes: { type: "boolean", default: false },
        }),
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) return "help";
    const [name, repository, ...more] = positionals;
    if (name === undefined || more.length > 0) throw new Error("name one service or volume, and one place");
    const { snapshot = "latest", list = false, yes = false } = values as Partial<Options>;
    if (!/^(latest|[0-9a-f]{6,64})$/.test(snapshot)) throw new Error(`"${snapshot}" is no ID of a snapshot`);
    return { verb: verb === "restore" ? verb : "backup", name, repository, snapshot, list, yes };
  } catch (error) {
    throw new UserError(`${messageOf(error)}\n${usage}`);
  }
}
