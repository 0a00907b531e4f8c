import type { z } from "zod";

import { flag, mapping, mistake, parse, text, whole } from "../../schema";
import { aptSettings } from "../apt-settings";

const path = text(/^[a-z0-9][A-Za-z0-9._/:-]*$/, "a name, or projects/…/name");

/** Series with Arm CPUs. */
const arm = /^(?:t2a|c4a|n4a|a4x)-/;

/**
 * The series that take Persistent Disk. The list is complete: every later series takes only Hyperdisk, see the page of each
 * series at https://cloud.google.com/compute/docs/machine-resource.
 */
const persistentDisk = /^(?:f1|g1|e2|n1|n2d?|t2[ad]|c2d?|c3d?|h3|m[123]|z3|a[23]|g2)-/;

/** Types of those series that take only Hyperdisk nonetheless. */
const hyperdiskOnly = /-metal$|^a3-ultragpu-/;

/** The keys of `machine`. */
export const settings = {
  type: text(/^[a-z][a-z0-9]*(?:-[a-z0-9]+)+$/, 'a machine type such as "e2-small"')
    .default("e2-small")
    .describe("machine type; Arm types work too"),
  diskGb: whole(10, 65_536)
    .default(20)
    .describe("disk size in GB; balanced Persistent Disk, or Hyperdisk where a type takes no other"),
  spot: flag().default(false).describe("whether to use Spot VMs"),
  protect: flag().default(false).describe("whether to protect the machines against deletion"),
  image: path.optional().describe("image or image family; default: `debian-cloud/debian-13`"),
  osLogin: flag().default(false).describe("whether to manage logins with Google's OS Login"),
  network: path.optional().describe("your own network; default: a new one"),
  subnetwork: path.optional().describe("your own subnetwork in `network`"),
  ...aptSettings,
};

const machine = mapping(settings)
  .check(({ value: { network, subnetwork }, issues }) => {
    if ((network === undefined) === (subnetwork === undefined)) return;
    const cure = "set both network and subnetwork, or neither for a new network";
    issues.push(mistake([network === undefined ? "network" : "subnetwork"], "is missing", cure));
  })
  .transform(({ network, subnetwork, image, aptMirror, proxy, ...rest }) => {
    const { type } = rest;
    const arch = arm.test(type) ? ("arm64" as const) : ("amd64" as const);
    return {
      ...rest,
      apt: { aptMirror, proxy },
      arch,
      diskType: persistentDisk.test(type) && !hyperdiskOnly.test(type) ? "pd-balanced" : "hyperdisk-balanced",
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
