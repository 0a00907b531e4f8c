/** Files that are either whole or not there. */
import { open, readFile, rename, rm } from "node:fs/promises";

let writes = 0;

/**
 * Replaces a file at once: writes a file of its own beside it, flushes that, and renames it. So several writes to one path at
 * the same time do not disturb each other; the last one to end wins.
 */
export async function writeWhole(path: string, content: string): Promise<void> {
  const beside = `${path}.${process.pid}-${writes++}.new`;
  try {
    const file = await open(beside, "w", 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
}

/** The content of a file; undefined if there is none. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
