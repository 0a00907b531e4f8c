import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import tar, { type Pack } from "tar-fs";
import type { Entry } from "./build-context";

/** A tar archive of the entries, without owners and times, so that equal entries give equal bytes. */
export function archiveOf(entries: readonly Entry[]): Readable {
  return Readable.from(
    tar.pack(".", {
      entries: [],
      finalize: false,
      finish(pack) {
        fill(pack, entries).then(
          () => {
            pack.finalize();
          },
          (error: unknown) => {
            pack.destroy(error as Error);
          },
        );
      },
    }),
  );
}

async function fill(pack: Pack, entries: readonly Entry[]): Promise<void> {
  for (const { path: name, mode, content, file, link } of entries) {
    const header = { name, mode, mtime: new Date(0) };
    if (content !== undefined) pack.entry(header, content);
    else if (link !== undefined) pack.entry({ ...header, type: "symlink", linkname: link });
    else if (file === undefined) pack.entry({ ...header, name: `${name}/`, type: "directory" });
    else if (file.size === 0) pack.entry(header, "");
    // A file that has grown since must not exceed its entry.
    else await pipeline(createReadStream(file.path, { end: file.size - 1 }), pack.entry({ ...header, size: file.size })); // prettier-ignore
  }
}
