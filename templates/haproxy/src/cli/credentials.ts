import { readFileSync } from "node:fs";
import { messageOf, UserError } from "../../../../lib/errors";
import { show } from "../../../../routing/grammar";

/**
 * Puts the password of the statistics page into the environment, where HAProxy looks for it, if STATS_PASSWORD_FILE names a
 * file with it. Everybody who may use Docker sees a container's own environment, but not its files.
 *
 * @throws UserError if the file cannot be read, or is empty
 */
export function readPassword(env: Record<string, string | undefined>): void {
  const file = env["STATS_PASSWORD_FILE"] ?? "";
  if (file === "") return;
  const refuse = (why: string) => new UserError(`STATS_PASSWORD_FILE=${show(file)} ${why}.`);
  let password: string;
  try {
    password = readFileSync(file, "utf8").trim();
  } catch (error) {
    throw refuse(`cannot be read (${messageOf(error)})`);
  }
  if (password === "") throw refuse("is empty");
  env["STATS_PASSWORD"] = password;
}
