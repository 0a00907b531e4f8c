import { parseInteger } from "../grammar";
import { instanceOption } from "../option";

/** Every server has its weight behind its definition: it changes while HAProxy runs. */
export const weight = instanceOption({
  key: "weight",
  name: "weight",
  for: "all",
  parse: (value: string) => parseInteger(value, 0, 256),
  default: 100,
  reference: {
    default: "`100`",
    meaning: "an instance's share of the requests beside the others, 0 to 256; instances may differ",
  },
  examples: ["0", "1", "256"],
});
