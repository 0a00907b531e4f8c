import { parseInteger } from "../grammar";
import { option } from "../option";

/** With `option redispatch 1`, set in all `defaults`, each retry goes to another instance. 0 disables that too. */
export const retries = option({
  key: "retries",
  name: "retries",
  for: "all",
  parse: (value: string) => parseInteger(value, 0, 10),
  reference: {
    default: "`3`",
    meaning: "how many times to retry a failed connection, each time on another instance, 0 to 10",
  },
  examples: ["0", "10"],
  backendLines: (value) => [`retries ${value}`],
});
