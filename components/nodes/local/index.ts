import type { Target } from "../target";

/** Target `local`: this machine's Docker Engine. */
export const local: Target = {
  summary: "this machine's Docker Engine",
  createsMachines: false,
  needsCli: false,
  settings: {},
  engineAtHand: ({ dockerHost }) => dockerHost,
  missingCredentials: () => [],
  firewalls: [],
  createNodes: (config) => (module.require("./node") as typeof import("./node")).createNodes(config),
};
