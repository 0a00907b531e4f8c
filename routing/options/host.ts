import { parseHost } from "../grammar";
import { option } from "../option";

/** Health checks send it too: health-path.ts looks it up in the map. */
export const host = option({
  key: "host",
  name: "host",
  for: "http",
  parse: parseHost,
  reference: { default: "any host", meaning: "the only host name that the service answers for" },
  examples: ["api.example.com", "x.org"],
  route: "claim",
  map: { file: "hosts.map" },
});
