/** The list of targets. Each has a folder of its name. */
import { aws } from "./aws";
import { gce } from "./gce";
import { hosts } from "./hosts";
import { local } from "./local";
import type { Target } from "./target";
import { virtualbox } from "./virtualbox";

export const targets = { local, hosts, virtualbox, aws, gce } satisfies Record<string, Target>;

export type TargetName = keyof typeof targets;

export const targetNames = Object.keys(targets) as [TargetName, ...TargetName[]];

/** The target with the given name. */
export const targetOf = (name: TargetName): Target => targets[name];
