import { parseHost } from "../grammar";
import { option } from "../option";

/** Health checks send the host too: health-path.ts looks it up in the map. */
export const host = option({
  key: "host",
  name: "host",
  for: "http",
  parse: parseHost,
  reference: { default: "any host", meaning: "host name to which the service is restricted" },
  examples: ["api.example.com", "x.org"],
  route: "claim",
  map: { file: "hosts.map" },
});
