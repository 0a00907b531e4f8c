import { parseBoolean } from "../grammar";
import { option } from "../option";

export const stripPrefix = option({
  key: "strip_prefix",
  name: "stripPrefix",
  for: "http",
  parse: parseBoolean,
  default: true,
  reference: {
    default: "`true`",
    meaning: "the service sees paths without its prefix, and `X-Forwarded-Prefix` names the prefix",
  },
  examples: ["true", "false"],
  route: "handling",
});
