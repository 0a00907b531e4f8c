/** What a preview reads from a running Consul. */
import { readFileSync } from "node:fs";

import { messageOf, UserError } from "../lib/errors";
import { kv as kvKeys } from "../routing/grammar";
import { scalingKeys } from "../routing/scaling/keys";
import { decodeKv } from "../templates/haproxy/src/consul/decode";

export interface Found {
  /** The load balancers' settings. */
  readonly kv: Record<string, string>;
  /** What the autoscaler tells; undefined without one. */
  readonly status: string | undefined;
}

export const nothing: Found = { kv: {}, status: undefined };

/** How long Consul may take to answer. */
const consulTimeoutMs = 10_000;

/** @throws UserError if it cannot be read */
export async function readConsul(consul: string): Promise<Found> {
  try {
    const { CONSUL_HTTP_TOKEN_FILE: file, CONSUL_HTTP_TOKEN: given } = process.env;
    const token = file ? readFileSync(file, "utf8").trim() : given;
    const ask = (path: string) =>
      fetch(new URL(`/v1/kv/${path}`, consul), {
        headers: token ? { "X-Consul-Token": token } : {},
        signal: AbortSignal.timeout(consulTimeoutMs),
      });
    const response = await ask(`${kvKeys.prefix}?recurse`);
    // Without the right to read keys, Consul says that there are none; only of a single one does it say what is wrong.
    const { status } = response.status === 404 ? await ask(kvKeys.maxconn) : response;
    if (status === 403) {
      throw new UserError(
        `--consul ${consul} does not let this token read the settings: put the operator's token, which ` +
          `script/outputs --show-secrets prints, into CONSUL_HTTP_TOKEN, or a file with it into CONSUL_HTTP_TOKEN_FILE.`,
      );
    }
    const kv = await valuesIn(response);
    const told = await ask(scalingKeys.status);
    // A token for the settings alone is enough for the rest.
    const { [scalingKeys.status]: decided } = told.status === 403 ? {} : await valuesIn(told);
    return { kv, status: decided };
  } catch (error) {
    if (error instanceof UserError) throw error;
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new UserError(
      `--consul ${consul} cannot be read (${messageOf(cause)}): give the URL of its HTTP API, such as http://localhost:8500.`,
    );
  }
}

async function valuesIn(response: Response): Promise<Record<string, string>> {
  if (response.status === 404) return {};
  if (!response.ok) throw new Error(`HTTP status ${response.status}`);
  return decodeKv(await response.json());
}
