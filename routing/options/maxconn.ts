import { parseInteger } from "../grammar";
import { option } from "../option";

export const maxconn = option({
  key: "maxconn",
  name: "maxconn",
  for: "all",
  parse: (value: string) => parseInteger(value, 1, 100_000),
  reference: {
    meaning:
      "maximum number of concurrent connections per instance; others wait in a queue, up to the timeout `server`",
  },
  examples: ["1", "100"],
  serverWords: (value) => `maxconn ${value}`,
});
