import { parseBoolean } from "../grammar";
import { option } from "../option";

/** No default, so that it is known whether it was set: without TLS, it would mean nothing. */
export const tlsVerify = option({
  key: "tls_verify",
  name: "tlsVerify",
  for: "http",
  parse: parseBoolean,
  reference: {
    default: "`true`",
    meaning:
      "with `proto: https`: whether the instance's certificate must be valid. With `false`, the connection is encrypted, but anyone may be at its other end",
  },
  examples: ["true", "false"],
});
