/** Finds services of different containers that are registered with one address and port: only one of them can be there. */
import { parseAddress, parseServiceName, show } from "./grammar";
import type { Instance, Problem } from "./types";
import { hostPort } from "../lib/tcp";
import { compare } from "../lib/text";

/** Meta key with the default ID of a service that has a SERVICE_ID. */
export const originKey = "registrator_id";

/** Registrator's default ID of a TCP port: hostname, container, exposed port. */
const defaultId = /^(.+:[a-zA-Z0-9][a-zA-Z0-9_.-]*):\d+$/;

/** A message names at most this many services. */
const maxNamed = 5;

/** An instance with the container that it was registered for, and its address and port. */
interface Claim {
  readonly instance: Instance;
  readonly container: string;
  readonly endpoint: string;
}

/** Catalogs are immutable, so a result stays valid for the same instance. */
const claims = new WeakMap<Instance, { readonly claim: Claim | undefined }>();

/** Undefined for an instance that Registrator did not register: several services may belong to one program. */
function claimOf(instance: Instance): Claim | undefined {
  const known = claims.get(instance);
  if (known !== undefined) return known.claim;
  const { id, meta, port } = instance;
  const origin = Object.hasOwn(meta, originKey) ? (meta[originKey] ?? id) : id;
  const container = defaultId.exec(origin)?.[1];
  const address = parseAddress(instance.address);
  const claim =
    container === undefined || !address.ok
      ? undefined
      : { instance, container, endpoint: hostPort(address.value, port) };
  claims.set(instance, { claim });
  return claim;
}

/**
 * A warning for each address and port that several services claim, if one of them is routed. The others need not be:
 * whatever has the port answers the requests.
 */
export function sharedPorts(
  instances: readonly Instance[],
  isRouted: (instance: Instance) => boolean,
): Problem[] {
  const first = new Map<string, Claim>();
  const shared = new Map<string, Claim[]>();
  for (const instance of instances) {
    const claim = claimOf(instance);
    if (claim === undefined) continue;
    const { endpoint } = claim;
    const other = first.get(endpoint);
    const all = shared.get(endpoint);
    if (other === undefined) first.set(endpoint, claim);
    else if (all === undefined) shared.set(endpoint, [other, claim]);
    else all.push(claim);
  }
  return [...shared].flatMap(([endpoint, found]) => {
    const byService = new Map(found.map((claim) => [claim.instance.service, claim]));
    const containers = new Set(found.map(({ container }) => container));
    return byService.size > 1 && containers.size > 1 && found.some(({ instance }) => isRouted(instance))
      ? [warning(endpoint, [...byService.values()])]
      : [];
  });
}

function warning(endpoint: string, found: readonly Claim[]): Problem {
  const sorted = [...found].sort((a, b) => compare(a.instance.service, b.instance.service));
  const described = sorted.map(
    ({ instance, container }) =>
      `${nameOf(instance)} (container ${container.slice(container.lastIndexOf(":") + 1)})`,
  );
  const nodes = [...new Set(sorted.map(({ instance }) => show(instance.node)))];
  const where = `${nodes.length > 1 ? "nodes" : "node"} ${listed(nodes, " and ")}`;
  return {
    level: "warning",
    subject: listed(
      sorted.map(({ instance }) => nameOf(instance)),
      ", ",
    ),
    message: `Services ${listed(described, " and ")} claim the same address and port, ${endpoint} on ${where}: only one of them can be there, and it answers the requests of all. Give each its own port, or set SERVICE_<port>_IGNORE=true on a container that does not use the port.`,
  };
}

/** A service without a route may have any name. */
const nameOf = ({ service }: Instance): string => (parseServiceName(service).ok ? service : show(service));

function listed(names: readonly string[], separator: string): string {
  const more = names.length - maxNamed;
  return [...names.slice(0, maxNamed), ...(more > 0 ? [`${more} more`] : [])].join(separator);
}
