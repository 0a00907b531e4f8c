import type { z } from "zod";

import { flag, mapping, mistake, parse, text, whole } from "../../schema";
import { aptSettings } from "../apt-settings";

/** The Debian release of new machines. */
const debianBuild = "20260712-2537";

const id = (prefix: string) => text(new RegExp(`^${prefix}-[0-9a-f]+$`), `an ID of the form ${prefix}-…`);

/** The keys of `machine`. */
export const settings = {
  type: text(/^[a-z][a-z0-9-]*\.[a-z0-9-]+$/, 'an instance type such as "t3.small"')
    .default("t3.small")
    .describe("instance type; Graviton (Arm) types work too"),
  diskGb: whole(8, 16_384).default(20).describe("disk size in GB; the disk is encrypted"),
  spot: flag().default(false).describe("whether to use spot instances, which EC2 may terminate at any time"),
  protect: flag().default(false).describe("whether to protect the instances against termination"),
  image: text(
    /^debian-[a-z0-9-]+$/,
    "the name of an official Debian image, see https://wiki.debian.org/Cloud/AmazonEC2Image",
  )
    .optional()
    .describe("name of an official Debian image; default: a pinned release of Debian 13"),
  vpcId: id("vpc")
    .optional()
    .describe("your own VPC; default: a new one, in up to three availability zones that offer the type"),
  subnetId: id("subnet").optional().describe("your own subnet in `vpcId`"),
  ...aptSettings,
};

const machine = mapping(settings)
  .check(({ value, issues }) => {
    const { spot, protect, vpcId, subnetId } = value;
    if (spot && protect) {
      const problem = "is true, but EC2 cannot protect spot instances";
      issues.push(mistake(["protect"], problem, "set one of spot and protect to false"));
    }
    if ((vpcId === undefined) !== (subnetId === undefined)) {
      const cure = "set both vpcId and subnetId, or neither for a new network";
      issues.push(mistake([vpcId === undefined ? "vpcId" : "subnetId"], "is missing", cure));
    }
  })
  .transform(({ vpcId, subnetId, image, aptMirror, proxy, ...rest }) => {
    // Graviton types have a "g" after the generation, as in t4g and m7gd; the first generation is a1.
    const arch = /^(?:a1\.|[a-z]+\d+g)/.test(rest.type) ? ("arm64" as const) : ("amd64" as const);
    return {
      ...rest,
      apt: { aptMirror, proxy },
      arch,
      image: image ?? `debian-13-${arch}-${debianBuild}`,
      network: vpcId === undefined || subnetId === undefined ? undefined : { vpcId, subnetId },
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
