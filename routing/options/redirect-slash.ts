import { parseBoolean } from "../grammar";
import { option } from "../option";

/** Nothing but the prefix was requested: `txn.path` is the path with a slash at its end. */
export const endsWithPrefix =
  "{ var(txn.stripped) -m int gt 0 } { var(txn.path),length,sub(txn.stripped) -m int eq 1 }";

/**
 * `/site` and `/site/` reach a stripped service as the same path, so it cannot redirect by itself. Off by default: APIs answer at
 * `/site`, and their clients may not follow redirects.
 */
export const redirectSlash = option({
  key: "redirect_slash",
  name: "redirectSlash",
  for: "http",
  parse: parseBoolean,
  reference: {
    default: "`false`",
    meaning:
      "whether GET and HEAD requests for the stripped prefix without a slash are redirected (308) to it with one, so that relative links work",
  },
  examples: ["true", "false"],
  backendLines: (value) =>
    value
      ? [
          `http-request redirect code 308 location %[req.fhdr(x-forwarded-prefix)]%[pathq] if { method GET HEAD } ${endsWithPrefix}`,
        ]
      : [],
});
