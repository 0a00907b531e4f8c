/** How sections are written. */

/** A section with its lines. */
export const lines = (head: string, body: readonly string[]): string =>
  [head, ...body.map((line) => `  ${line}`), ""].join("\n");

export const binds = (port: number, { ipv6 }: { readonly ipv6: boolean }): string[] =>
  ipv6 ? [`bind :${port}`, `bind :::${port} v6only`] : [`bind :${port}`];
