import { parseInteger } from "../grammar";
import { option } from "../option";

/** With `option redispatch 1`, which is in all `defaults`, each retry goes to another instance; 0 turns that off as well. */
export const retries = option({
  key: "retries",
  name: "retries",
  for: "all",
  parse: (value: string) => parseInteger(value, 0, 10),
  reference: {
    default: "`3`",
    meaning: "how often a failed connection is tried again, each time on another instance, 0 to 10",
  },
  examples: ["0", "10"],
  backendLines: (value) => [`retries ${value}`],
});
