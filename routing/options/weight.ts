import { parseInteger } from "../grammar";
import { instanceOption } from "../option";

export const maxWeight = 256;

/** The weight is not part of a server's definition line, because it can change while HAProxy runs. */
export const weight = instanceOption({
  key: "weight",
  name: "weight",
  for: "all",
  parse: (value: string) => parseInteger(value, 0, maxWeight),
  default: 100,
  reference: {
    default: "`100`",
    meaning:
      "share of the requests relative to other instances, 0 to 256; may differ between instances of a service. Without it, 100 times the weight that Consul has (`Weights`)",
  },
  examples: ["0", "1", "256"],
});
