import { parseDuration, writeDuration } from "../grammar";
import { option } from "../option";

export const timeoutServer = option({
  key: "timeout_server",
  name: "timeoutServer",
  for: "all",
  parse: parseDuration,
  write: writeDuration,
  reference: {
    default: "KV",
    meaning: "how long an instance may send nothing: `30s`, or a number of milliseconds",
  },
  examples: ["5", "2m"],
  map: { file: "timeouts.map" },
  profile: {
    variants: {
      "": ({ lookUp }) => [`http-request set-timeout server ${lookUp("timeouts.map", "map_str_int")}`],
    },
  },
  // Once both sides of a TCP connection have sent data, the tunnel timeout applies.
  backendLines: (value, kind) =>
    kind === "tcp" ? [`timeout server ${value}`, `timeout tunnel ${value}`] : [],
});
