import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

import type { Target } from "../target";
import { firewalls } from "./firewalls";
import { settings } from "./settings";

/** With any of these variables, Google's SDK finds credentials. */
const variables = ["GOOGLE_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_OAUTH_ACCESS_TOKEN"];
const file = ".config/gcloud/application_default_credentials.json";

/** Target `gce`: Compute Engine instances with Debian, in a new network or an existing one. */
export const gce: Target = {
  summary: "Compute Engine instances with Debian",
  createsMachines: true,
  needsCli: true,
  settings,
  missingCredentials: (env) =>
    variables.some((name) => (env[name] ?? "") !== "") || existsSync(join(homedir(), file))
      ? []
      : [
          "credentials for Google Cloud: gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
        ],
  firewalls,
  createNodes: (config) => (module.require("./nodes") as typeof import("./nodes")).createNodes(config),
};
