import { parsePemName } from "../grammar";
import { option } from "../option";

export const tlsCa = option({
  key: "tls_ca",
  name: "tlsCa",
  for: "http",
  parse: parsePemName,
  reference: {
    default: "public authorities",
    meaning:
      "with `proto: https`: the file, such as `internal.pem`, with the authorities that may have signed the instance's certificate; see [below](#tls-to-instances)",
  },
  examples: ["internal.pem", "Acme_2.pem"],
});
