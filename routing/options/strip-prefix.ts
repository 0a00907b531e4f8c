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
    meaning: "whether the service sees paths without its prefix, which is then in `X-Forwarded-Prefix`",
  },
  examples: ["true", "false"],
  route: "handling",
});
