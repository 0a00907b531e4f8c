import type { Target } from "../target";
import { machinesOff } from "./machine";
import { parseSettings, settings } from "./settings";

/** Target `virtualbox`: VirtualBox machines with Debian on this computer. */
export const virtualbox: Target = {
  summary: "VirtualBox machines with Debian on this computer",
  createsMachines: true,
  needsCli: false,
  settings,
  machinesOff,
  missingCredentials: () => [],
  ownNetworks: ({ machine }) => [`${parseSettings(machine).network}.0/24`],
  firewalls: [],
  createNodes: (config) => (module.require("./nodes") as typeof import("./nodes")).createNodes(config),
};
