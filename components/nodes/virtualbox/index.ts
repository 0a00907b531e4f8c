import type { Target } from "../target";
import { settings } from "./settings";

/** Target `virtualbox`: VirtualBox machines on this computer, with Debian. */
export const virtualbox: Target = {
  summary: "machines with Debian in VirtualBox on this computer",
  createsMachines: true,
  needsCli: false,
  settings,
  missingCredentials: () => [],
  firewalls: [],
  createNodes: (config) => (module.require("./nodes") as typeof import("./nodes")).createNodes(config),
};
