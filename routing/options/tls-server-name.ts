import { parseHostName } from "../grammar";
import { option } from "../option";

export const tlsServerName = option({
  key: "tls_server_name",
  name: "tlsServerName",
  for: "http",
  parse: parseHostName,
  reference: {
    default: "name in DNS, or first exact `host`",
    meaning:
      "with `proto: https`: the name that is sent to the instance (SNI), and that its certificate must have",
  },
  examples: ["shop.internal", "x.org"],
});
