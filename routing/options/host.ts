import { isWildcard, parseHost, parseList } from "../grammar";
import { option } from "../option";

/** Health checks send a host too, one that the service has: health-path.ts looks it up in the map. */
const checkedHost = (hosts: string): string => {
  const [first = "", ...more] = hosts.split(",");
  const exact = [first, ...more].find((each) => !isWildcard(each));
  return exact ?? `health-check${first.slice(1)}`;
};

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
