import { parseBoolean } from "../grammar";
import { option } from "../option";

const stripped = "{ var(txn.stripped) -m int gt 0 }";
/** The service's own URL: a path, but no host, or the host that the client asked for. */
const own = "{ var(txn.own_location) -m found }";
const isOwn = (condition: string) =>
  `http-response set-var(txn.own_location) bool(true) if ${stripped} { res.fhdr(location)${condition} }`;

/** Puts the prefix behind `before`, marked with `||`, and takes it out again where the path begins with it already. */
const restore = (header: string, before: string, path: string, condition: string): string[] =>
  [
    [`(${before})(${path})`, "\\1%[var(txn.prefix)]||\\2"],
    [`(${before})(/[^|;]*)\\|\\|\\2(([/?#;].*)?)`, "\\1\\2\\3"],
    [`(${before})(/[^|;]*)\\|\\|(.*)`, "\\1\\2\\3"],
  ].map(
    ([pattern = "", put = ""]) =>
      `http-response replace-header ${header} '^${pattern}$' '${put}' if ${condition}`,
  );

/**
 * A stripped service does not know where it is, unless it reads X-Forwarded-Prefix. Off by default: it may read it, and it may
 * mean another service.
 */
export const restorePrefix = option({
  key: "restore_prefix",
  name: "restorePrefix",
  for: "http",
  parse: parseBoolean,
  reference: {
    default: "`false`",
    meaning:
      "whether the stripped prefix is put back into the service's `Location` headers and cookie paths that lack it",
  },
  examples: ["true", "false"],
  backendLines: (value) =>
    value
      ? [
          `http-request set-var(txn.prefix) req.fhdr(x-forwarded-prefix) if ${stripped}`,
          "http-request set-var(txn.public) req.fhdr(x-forwarded-host)",
          isOwn(" -m reg ^/([^/]|$)"),
          isOwn(",field(3,/),strcmp(txn.public) eq 0"),
          ...restore("Location", "|https?://[^/]+", "|/.*", own),
          ...restore("Set-Cookie", ".*; *[Pp][Aa][Tt][Hh]=", "/.*", stripped),
        ]
      : [],
});
