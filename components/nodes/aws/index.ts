import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

import type { Target } from "../target";
import { firewalls } from "./firewalls";
import { settings } from "./settings";

/** With any of these variables, the AWS SDK finds credentials. */
const variables = [
  "AWS_ACCESS_KEY_ID",
  "AWS_PROFILE",
  "AWS_WEB_IDENTITY_TOKEN_FILE",
  "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
  "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];
const files = [".aws/credentials", ".aws/config"];

/** Target `aws`: EC2 instances with Debian, in a new network or an existing one. */
export const aws: Target = {
  summary: "EC2 instances with Debian",
  createsMachines: true,
  needsCli: true,
  settings,
  missingCredentials: (env) =>
    variables.some((name) => (env[name] ?? "") !== "") ||
    files.some((file) => existsSync(join(homedir(), file)))
      ? []
      : ["credentials for AWS: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"],
  firewalls,
  createNodes: (config) => (module.require("./nodes") as typeof import("./nodes")).createNodes(config),
};
