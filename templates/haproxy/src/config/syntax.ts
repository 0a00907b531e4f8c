/** The syntax of sections. */

/** A section with its lines. */
export const lines = (head: string, body: readonly string[]): string =>
  [head, ...body.map((line) => `  ${line}`), ""].join("\n");

/**
 * Only frontends log, so that standard output has nothing but requests. HAProxy writes the messages about its servers to
 * standard error as well, where `haproxy/messages` reads them.
 */
export const requestLog = "log global";

/** The `bind` lines of a port; `more` follows the address. */
export const binds = (port: number, { ipv6 }: { readonly ipv6: boolean }, more = ""): string[] =>
  [`bind :${port}`, ...(ipv6 ? [`bind :::${port} v6only`] : [])].map((bind) => `${bind}${more}`);
