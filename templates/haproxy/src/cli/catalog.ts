/** What Consul has, for the commands that only look. */
import { UserError } from "../../../../lib/errors";
import type { Catalog } from "../../../../routing/types";
import { Consul } from "../consul/client";
import { showAddresses, type ConsulOptions } from "../consul/options";
import { Watcher } from "../consul/watcher";

const answerTimeoutMs = 10_000;

export interface FollowOptions {
  /** Whether to give up if there is no full answer within 10 s. */
  readonly limited: boolean;
  /** Told why Consul cannot be asked. */
  readonly suspect?: (why: string) => void;
}

/**
 * Calls `found` with the catalog, and again at every change until it returns false.
 *
 * @throws UserError if Consul gives no full answer in time
 */
export function followCatalog(
  consul: ConsulOptions,
  found: (catalog: Catalog) => boolean,
  { limited, suspect }: FollowOptions,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let reason = "";
    const watcher = new Watcher(new Consul(consul), {
      changed: () => {
        const catalog = watcher.catalog();
        if (catalog === undefined) return;
        clearTimeout(timer);
        if (found(catalog)) return;
        watcher.stop();
        resolve();
      },
      suspect: (why) => {
        reason = ` (${why})`;
        suspect?.(why);
      },
    });
    const giveUp = () => {
      watcher.stop();
      reject(
        new UserError(
          `Consul at ${showAddresses(consul)} gave no full answer within ${answerTimeoutMs / 1000} s${reason}. Set --consul, or use --snapshot.`,
        ),
      );
    };
    const timer = limited ? setTimeout(giveUp, answerTimeoutMs) : undefined;
    watcher.start();
  });
}

export async function catalogOnce(consul: ConsulOptions): Promise<Catalog> {
  let result: Catalog = { instances: [], kv: {} };
  const take = (catalog: Catalog) => {
    result = catalog;
    return false;
  };
  await followCatalog(consul, take, { limited: true });
  return result;
}
