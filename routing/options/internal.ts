import { parseBoolean } from "../grammar";
import { option } from "../option";

/** What everybody gets for a path that no service has: it is not said that there is something. */
const hidden = JSON.stringify({ status: 404, error: "No service has this path." });

export const internal = option({
  key: "internal",
  name: "internal",
  for: "all",
  parse: parseBoolean,
  reference: {
    default: "`false`",
    meaning:
      "whether only the nodes of the stack and their containers reach the service through the load balancer: others get 404, or no connection, see [below](#internal-services)",
  },
  examples: ["true", "false"],
  // Before anything that would wake a service that sleeps.
  profile: {
    variantOf: (value) => (value === true ? "internal" : ""),
    variants: {
      "": () => [],
      internal: ({ outside }) => [
        `http-request return status 404 content-type application/json string '${hidden}' hdr Cache-Control no-store if ${outside}`,
      ],
    },
  },
});
