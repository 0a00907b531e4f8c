import { isWildcard, parseHost, parseList } from "../grammar";
import { option } from "../option";

/** The first host that is not a wildcard. */
export const exactHost = (hosts: string | undefined): string | undefined =>
  hosts?.split(",").find((each) => !isWildcard(each));

/** Health checks send a host too, one that the service has: health-path.ts looks it up in the map. */
export const checkedHost = (hosts: string): string =>
  exactHost(hosts) ?? `health-check${hosts.split(",")[0]?.slice(1) ?? ""}`;

export const host = option({
  key: "host",
  name: "host",
  for: "http",
  parse: (value: string) => parseList(value, parseHost),
  reference: {
    default: "any host",
    meaning: "host name to which the service is restricted, or `*.example.com`; several separated by commas",
  },
  examples: ["api.example.com", "x.org", "*.example.com", "*.org,example.com"],
  route: "claim",
  map: { file: "hosts.map", write: checkedHost },
});
