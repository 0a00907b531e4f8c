import { ownerLabel } from "./leftovers";
import { restartPolicy } from "./nodes/node";

/** How our helper containers run: read-only, and without new privileges. */
export const confined = {
  restart: restartPolicy,
  securityOpts: ["no-new-privileges:true"],
  readOnly: true,
  logOpts: { "max-size": "10m", "max-file": "3" },
};

/** Its labels: whose it is, and that it is no service. */
export const helperLabels = () => [ownerLabel(), { label: "SERVICE_IGNORE", value: "true" }];
