/** Finds services of different containers that are registered with one address and port: only one of them can be there. */
import { show } from "./grammar";
import type { Claim, Member } from "./service-options";
import type { Instance, Problem } from "./types";
import { hostPort } from "../lib/tcp";
import { compare } from "../lib/text";

/** Meta key with the default ID of a service that has a SERVICE_ID. */
export const originKey = "registrator_id";

/** Registrator's default ID: hostname, container, exposed port. */
const defaultId = /^(.+:[a-zA-Z0-9][a-zA-Z0-9_.-]*):\d+(?::(?:udp|sctp))?$/;

/** A message names at most this many services. */
const maxNamed = 5;

/** Undefined for an instance that Registrator did not register: several services may belong to one program. */
export function claimOf({ id, meta, port }: Instance, address: string): Claim | undefined {
  const origin = Object.hasOwn(meta, originKey) ? (meta[originKey] ?? id) : id;
  const container = defaultId.exec(origin)?.[1];
  return container === undefined ? undefined : { container, endpoint: hostPort(address, port) };
}

type Claimant = Member & { readonly claim: Claim };

const claims = (member: Member): member is Claimant => member.claim !== undefined;

/** A warning for each address and port that several services claim. */
export function sharedPorts(services: ReadonlyMap<string, readonly Member[]>): Problem[] {
  const first = new Map<string, Claimant>();
  const shared = new Map<string, Claimant[]>();
  for (const members of services.values()) {
    for (const member of members) {
      if (!claims(member)) continue;
      const { endpoint } = member.claim;
      const other = first.get(endpoint);
      const all = shared.get(endpoint);
      if (other === undefined) first.set(endpoint, member);
      else if (all === undefined) shared.set(endpoint, [other, member]);
      else all.push(member);
    }
  }
  return [...shared].flatMap(([endpoint, found]) => {
    const byService = new Map(found.map((member) => [member.instance.service, member]));
    const containers = new Set(found.map(({ claim }) => claim.container));
    return byService.size > 1 && containers.size > 1 ? [warning(endpoint, [...byService.values()])] : [];
  });
}

function warning(endpoint: string, found: readonly Claimant[]): Problem {
  const sorted = [...found].sort((a, b) => compare(a.instance.service, b.instance.service));
  const described = sorted.map(
    ({ instance, claim: { container } }) =>
      `${instance.service} (container ${container.slice(container.lastIndexOf(":") + 1)})`,
  );
  const nodes = [...new Set(sorted.map(({ instance }) => show(instance.node)))];
  const where = `${nodes.length > 1 ? "nodes" : "node"} ${listed(nodes, " and ")}`;
  return {
    level: "warning",
    subject: listed(
      sorted.map(({ instance }) => instance.service),
      ", ",
    ),
    message: `Services ${listed(described, " and ")} claim the same address and port, ${endpoint} on ${where}: only one of them can be there, and it answers the requests of all. Give each its own port, or set SERVICE_<port>_IGNORE=true on a container that does not use the port.`,
  };
}

function listed(names: readonly string[], separator: string): string {
  const more = names.length - maxNamed;
  return [...names.slice(0, maxNamed), ...(more > 0 ? [`${more} more`] : [])].join(separator);
}
