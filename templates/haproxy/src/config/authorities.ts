/** The authorities that may have signed the certificates of instances, as HAProxy reads them. Pure. */
import { lines } from "./syntax";

export interface Authority {
  readonly pem: string;
  /** Another one for another content. */
  readonly fingerprint: string;
}

/** By file name. */
export type Authorities = ReadonlyMap<string, Authority>;

export const authorityFolder = (dir: string): string => `${dir}/authorities`;

/**
 * HAProxy reads no file of authorities while it runs, so it gets all of them when it starts, and a server that is added later
 * may name any of them. A changed file takes a reload.
 */
export const authoritiesSection = (authorities: Authorities): string =>
  lines(
    "defaults authorities",
    [...authorities].map(([name, { fingerprint }]) => `default-server ca-file ${name} # ${fingerprint}`),
  );
