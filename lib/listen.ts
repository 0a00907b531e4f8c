/** Listens at a path, for programs of other containers. */
import { chmodSync, rmSync } from "node:fs";
import type { Server } from "node:http";

/** Listens at a path on which an earlier run may have left its socket. Whoever can reach the folder may use the socket. */
export function listenAt(server: Server, path: string): Promise<Server> {
  rmSync(path, { force: true });
  return new Promise((resolve, reject) => {
    server.on("error", reject).listen(path, () => {
      chmodSync(path, 0o666);
      resolve(server);
    });
  });
}
