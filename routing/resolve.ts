/** Instances that are registered with a name in DNS instead of an address. */
import { show } from "./grammar";
import type { Member } from "./service-options";
import type { Problem, Resolution } from "./types";

interface Resolved {
  readonly members: readonly Member[];
  readonly problems: readonly Problem[];
}

const resolutions = new WeakMap<Member, Resolved & { readonly resolution: Resolution | undefined }>();

/** An instance with a name in DNS stands for one at each address of the name. */
export function atAddresses(member: Member, resolution: Resolution | undefined): Resolved {
  const known = resolutions.get(member);
  if (known !== undefined && known.resolution === resolution) return known;
  const { instance } = member;
  const { addresses, problem } = resolution ?? { addresses: [] };
  const members =
    addresses.length === 0
      ? [{ ...member, instance: { ...instance, healthy: false } }]
      : addresses.map((address) => ({ ...member, instance: { ...instance, address } }));
  const subject = `Service ${instance.service} (instance ${show(instance.id)}) has address ${show(instance.address)}, which`;
  const problems: Problem[] = [];
  if (addresses.length === 0)
    problems.push({
      level: "quarantined",
      subject: instance.service,
      message: `${subject} ${problem === undefined ? "has not been resolved yet" : `cannot be resolved (${problem}): correct it, or its entry in DNS`}.`,
    });
  else if (problem !== undefined)
    problems.push({
      level: "warning",
      subject: instance.service,
      message: `${subject} cannot be resolved any more (${problem}): it keeps its last addresses for a while.`,
    });
  const made = { members, problems, resolution };
  resolutions.set(member, made);
  return made;
}
