import type { Target } from "../target";
import { settings } from "./settings";

/** Target `hosts`: the machines listed under the key `hosts`. */
export const hosts: Target = {
  summary: "machines that you have",
  createsMachines: false,
  needsCli: false,
  settings,
  missingCredentials: () => [],
  firewalls: [],
  createNodes: (config) => (module.require("./node") as typeof import("./node")).createNodes(config),
};
