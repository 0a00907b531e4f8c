/** Feeds a dump to a program. */
import { UserError } from "../../../lib/errors";
import type { Engine } from "./exec";
import type { Restic } from "./restic";

/**
 * Gives a dump to a program in a container as its standard input.
 *
 * @throws UserError if the program fails, or ends before it has read all
 */
export async function feed(
  engine: Pick<Engine, "exec">,
  restic: Restic,
  { id, path }: { readonly id: string; readonly path: string },
  { container, program }: { readonly container: string; readonly program: readonly string[] },
): Promise<void> {
  const { child, ended } = restic.start(["dump", "--no-lock", id, path], "pipe");
  const loading = engine.exec(container, program, {
    output: process.stdout,
    input(stream) {
      stream.on("error", () => undefined);
      child.stdout?.pipe(stream, { end: false });
      // Its end means: all of it. A dump that breaks off must not look complete.
      void ended.then(({ code }) => (code === 0 ? stream.end() : stream.destroy()));
    },
  });
  const { code, errors } = await loading.catch(async (error: unknown) => {
    child.kill();
    restic.check(await ended);
    throw error;
  });
  const [name = ""] = program;
  if (code !== 0) {
    child.kill();
    throw new UserError(`${name}: exit code ${code}${errors && `: ${errors}`}`);
  }
  // Otherwise restic would wait forever for a reader of the rest.
  let unread = 0;
  child.stdout?.unpipe().on("data", (chunk: Buffer) => {
    unread += chunk.length;
    child.kill();
  });
  child.stdout?.resume();
  const end = await ended;
  if (unread > 0) throw new UserError(`${name} did not read all of the dump: correct load, so that it does`);
  restic.check(end);
}
