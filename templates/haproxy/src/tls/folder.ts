/** Follows a mounted folder. */
import { watch } from "node:fs";

/** Lets a file that is being written, or a folder of links that is being replaced, become whole. */
const settleMs = 200;
/** For file systems that report no changes. */
const lookEveryMs = 10_000;

/** Calls `look` now, and whenever the folder may have changed; never before the last call has ended. */
export async function followFolder(folder: string, look: () => Promise<void>): Promise<void> {
  let last = look();
  const again = () => {
    last = last.then(look);
  };
  let timer: NodeJS.Timeout | undefined;
  await last;
  try {
    watch(folder, () => {
      clearTimeout(timer);
      timer = setTimeout(again, settleMs);
    }).on("error", () => undefined);
  } catch {
    // The timer below looks as well.
  }
  setInterval(again, lookEveryMs).unref();
}
