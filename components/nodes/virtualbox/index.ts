import type { Target } from "../target";
import { settings } from "./settings";

/** Target `virtualbox`: VirtualBox machines with Debian on this computer. */
export const virtualbox: Target = {
  summary: "VirtualBox machines with Debian on this computer",
  createsMachines: true,
  needsCli: false,
  settings,
  missingCredentials: () => [],
  firewalls: [],
  createNodes: (config) => (module.require("./nodes") as typeof import("./nodes")).createNodes(config),
};
