import { ok, oneOf } from "../grammar";
import { option } from "../option";

export const proto = option({
  key: "proto",
  name: "h2c",
  for: "http",
  parse: (value: string) => {
    const protocol = oneOf(value, ["h2c", "h1"] as const);
    return protocol.ok ? ok(protocol.value === "h2c") : protocol;
  },
  default: false,
  write: (h2c) => (h2c ? "h2c" : "h1"),
  reference: {
    default: "`h1`",
    meaning: "`h2c` for instances that speak HTTP/2 without TLS, as gRPC servers do",
  },
  examples: ["h2c", "h1"],
  serverWords: (h2c) => (h2c ? "proto h2 check-proto h2" : undefined),
});
