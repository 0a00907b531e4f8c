import { parseHealthPath } from "../grammar";
import { option, type ProfileContext } from "../option";

export const checkAgent = "switchyard-health-check";

/**
 * The statuses of a healthy instance. Without a health path, any service that speaks HTTP is healthy, even if it has nothing
 * at `/` (404) or does not implement HEAD (405, 501). A configured health path must return success.
 */
export const healthyStatus = (ownPath: boolean): string => (ownPath ? "200-399" : "200-499,501");

const check = (request: string, ownPath: boolean, { lookUp }: ProfileContext) => [
  `http-check send ${request} ver HTTP/1.1 hdr Host %[${lookUp("hosts.map", "map_str", "localhost")}] hdr User-Agent ${checkAgent}`,
  `http-check expect status ${healthyStatus(ownPath)}`,
];

export const healthPath = option({
  key: "health_path",
  name: "healthPath",
  for: "http",
  parse: parseHealthPath,
  reference: {
    meaning:
      "path at which GET must return 2xx or 3xx; without it, `HEAD /` must return anything but 5xx (501 is accepted)",
  },
  examples: ["/health", "/h?x=%20"],
  map: { file: "health.map" },
  profile: {
    variantOf: (value) => (value === undefined ? "" : "health"),
    variants: {
      "": (context) => check("meth HEAD uri /", false, context),
      health: (context) =>
        check(`meth GET uri-lf %[${context.lookUp("health.map", "map_str", "/")}]`, true, context),
    },
  },
});
