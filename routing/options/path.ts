import { parseList, parsePath } from "../grammar";
import { option } from "../option";

export const path = option({
  key: "path",
  name: "path",
  for: "http",
  parse: (value: string) => parseList(value, parsePath),
  reference: {
    default: "`/<name>`",
    meaning: "URL path of the service, instead of its name; several separated by commas",
  },
  examples: ["/", "/a", "/a/b", "/api", "/x,/y/z"],
  route: "claim",
});
