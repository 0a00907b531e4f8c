import { createHash } from "node:crypto";

import { parseBoolean } from "../grammar";
import { option } from "../option";

/**
 * If versions share requests, this cookie keeps a client of a sticky service on its version. It holds the random number from 0
 * to 99 that was drawn for the client.
 */
export const slotCookie = "SWITCHYARD_SLOT";

/** The same at every load balancer. Not a secret: there are few enough addresses to try them all. */
const cookieOf = (server: string): string => createHash("sha256").update(server).digest("hex").slice(0, 12);

export const sticky = option({
  key: "sticky",
  name: "sticky",
  for: "http",
  parse: parseBoolean,
  default: false,
  reference: { default: "`false`", meaning: "whether a cookie keeps each client on one instance" },
  examples: ["true", "false"],
  profile: {
    variantOf: (value) => (value === true ? "sticky" : ""),
    variants: {
      "": () => [],
      sticky: ({ prefix }) => [
        "cookie SWITCHYARD insert indirect nocache httponly attr SameSite=Lax",
        // HAProxy sets its cookie for every path, so two sticky services on one host would overwrite each other's.
        `http-after-response replace-header Set-Cookie '^(SWITCHYARD=[^;]*;.path=)/(.*)$' '\\1${prefix}\\2'`,
        `http-after-response add-header Set-Cookie '${slotCookie}=%[var(txn.drawn)]; path=${prefix}; HttpOnly; SameSite=Lax' if { var(txn.drawn) -m found }`,
      ],
    },
  },
  serverWords: (value, { name }) => (value ? `cookie ${cookieOf(name)}` : undefined),
});
