import { parsePath } from "../grammar";
import { option } from "../option";

export const path = option({
  key: "path",
  name: "path",
  for: "http",
  parse: parsePath,
  reference: { default: "`/<name>`", meaning: "URL path of the service, instead of its name" },
  examples: ["/", "/a", "/a/b", "/api"],
  route: "claim",
});
