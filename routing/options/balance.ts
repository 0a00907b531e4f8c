import { oneOf } from "../grammar";
import { option } from "../option";

/** Without consistent hashing, adding or removing an instance would move almost every client. */
const lines = {
  roundrobin: ["balance roundrobin"],
  leastconn: ["balance leastconn"],
  random: ["balance random"],
  source: ["balance source", "hash-type consistent"],
  uri: ["balance uri", "hash-type consistent"],
} as const;

const algorithms = ["roundrobin", "leastconn", "random", "source", "uri"] as const;

export const balance = option({
  key: "balance",
  name: "balance",
  for: "all",
  parse: (value: string) => oneOf(value, algorithms),
  default: "roundrobin",
  check: (value, kind) =>
    kind === "tcp" && value === "uri"
      ? "has SERVICE_BALANCE=uri, which only HTTP has: use source"
      : undefined,
  reference: {
    default: "`roundrobin`",
    meaning: "`roundrobin`, `leastconn`, `random`, `source` or `uri`",
  },
  examples: [...algorithms],
  profile: {
    variantOf: (value) => value ?? "roundrobin",
    variants: {
      roundrobin: () => lines.roundrobin,
      leastconn: () => lines.leastconn,
      random: () => lines.random,
      source: () => lines.source,
      uri: () => lines.uri,
    },
  },
  backendLines: (value, kind) => (kind === "tcp" && value !== "roundrobin" ? lines[value] : []),
});
