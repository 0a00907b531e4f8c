import type { Target } from "../target";

/** Target `local`: the Docker Engine at hand. */
export const local: Target = {
  summary: "the Docker Engine at hand",
  createsMachines: false,
  needsCli: false,
  settings: {},
  engineAtHand: ({ dockerHost }) => dockerHost,
  missingCredentials: () => [],
  firewalls: [],
  createNodes: (config) => (module.require("./node") as typeof import("./node")).createNodes(config),
};
