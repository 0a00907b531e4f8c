import type { z } from "zod";

import { flag, mapping, mistake, parse, text, whole } from "../../schema";

const path = text(/^[a-z0-9][A-Za-z0-9._/:-]*$/, "a name, or projects/…/name");

/** The keys of `machine`. */
export const settings = {
  type: text(/^[a-z][a-z0-9]*(?:-[a-z0-9]+)+$/, 'a machine type such as "e2-small"')
    .default("e2-small")
    .describe("machine type; Arm types work too"),
  diskGb: whole(10, 65_536).default(20).describe("disk size in GB"),
  spot: flag().default(false).describe("whether to use Spot VMs"),
  protect: flag().default(false).describe("whether to protect the machines against deletion"),
  image: path.optional().describe("image or image family; default: `debian-cloud/debian-13`"),
  osLogin: flag().default(false).describe("whether to manage logins with Google's OS Login"),
  network: path.optional().describe("your own network; default: a new one"),
  subnetwork: path.optional().describe("your own subnetwork in `network`"),
};

const machine = mapping(settings)
  .check(({ value: { network, subnetwork }, issues }) => {
    if ((network === undefined) === (subnetwork === undefined)) return;
    const cure = "set both network and subnetwork, or neither for a new network";
    issues.push(mistake([network === undefined ? "network" : "subnetwork"], "is missing", cure));
  })
  .transform(({ network, subnetwork, image, ...rest }) => {
    const arch = /^(?:t2a|c4a|n4a)-/.test(rest.type) ? ("arm64" as const) : ("amd64" as const);
    return {
      ...rest,
      arch,
      image: image ?? `debian-cloud/debian-13${arch === "arm64" ? "-arm64" : ""}`,
      network: network === undefined || subnetwork === undefined ? undefined : { network, subnetwork },
    };
  })
  .readonly();

export type Settings = z.output<typeof machine>;

/**
 * Validates the mapping `machine` and fills in defaults.
 *
 * @throws UserError that names the key
 */
export const parseSettings = (value: unknown): Settings => parse(machine, value, "machine");
