import { Readable } from "node:stream";
import tar from "tar-fs";
import type { Entry } from "../../lib/build-context";

/** A tar archive of the entries, without owners and times, so that equal entries give equal bytes. */
export function archiveOf(entries: readonly Entry[]): Readable {
  return Readable.from(
    tar.pack(".", {
      entries: [],
      finalize: false,
      finish(pack) {
        for (const { path: name, mode, content, link } of entries) {
          const header = { name, mode, mtime: new Date(0) };
          if (content !== undefined) pack.entry(header, content);
          else if (link !== undefined) pack.entry({ ...header, type: "symlink", linkname: link });
          else pack.entry({ ...header, name: `${name}/`, type: "directory" });
        }
        pack.finalize();
      },
    }),
  );
}
