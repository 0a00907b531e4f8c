import { originKey } from "../../../../routing/shared-ports";
import { hostPort } from "../../../../lib/tcp";
import type { Claim, Service } from "../types";

export interface Desired {
  readonly services: ReadonlyMap<string, Service>;
  /** Services that are not registered because their ID, or their address and port, are taken. */
  readonly conflicts: readonly Conflict[];
}

export interface Conflict {
  readonly service: Service;
  /** A clause: `its ID … is that of …`. */
  readonly why: string;
}

/** The address and port of services in Consul's agent, by ID. */
export type Places = ReadonlyMap<string, string>;

export const placeOf = ({ Address, Port }: Service["registration"]): string => hostPort(Address, Port);

/**
 * Picks one service per ID, and one per address and port. A default ID wins over an equal SERVICE_ID, and services that
 * others registered with the agent (`foreign`) are never overwritten. Those in `withheld` are
 * not registered, but still claim their addresses and ports.
 */
export function desiredOf(
  services: Iterable<Service>,
  foreign: ReadonlySet<string>,
  registered: Places = new Map(),
  withheld: readonly Service[] = [],
): Desired {
  const byId = new Map<string, Service>();
  const conflicts: Conflict[] = [];
  const isChosen = (service: Service) => originKey in service.registration.Meta;
  const order = Array.from(services).sort((a, b) => Number(isChosen(a)) - Number(isChosen(b)));
  for (const service of order) {
    const { ID: id } = service.registration;
    const other = byId.get(id);
    if (other) {
      conflicts.push({ service, why: conflict(service, `container ${other.container}`) });
    } else if (isChosen(service) && foreign.has(id)) {
      conflicts.push({ service, why: conflict(service, "a service not registered by Registrator") });
    } else {
      byId.set(id, service);
    }
  }
  for (const each of contested([...byId.values(), ...withheld], registered)) {
    if (withheld.includes(each.service)) continue;
    byId.delete(each.service.registration.ID);
    conflicts.push(each);
  }
  return { services: byId, conflicts };
}

/**
 * The services whose address and port another service has, or may have. Requests for them would be answered by that one.
 */
function contested(services: Iterable<Service>, registered: Places): Conflict[] {
  const groups = new Map<string, Service[]>();
  for (const service of services) {
    const key = `${placeOf(service.registration)} ${service.claim.protocol}`;
    const group = groups.get(key);
    if (group) group.push(service);
    else groups.set(key, [service]);
  }
  return [...groups.values()].flatMap((group) => {
    if (group.length === 1) return [];
    const isRegistered = (service: Service) =>
      registered.get(service.registration.ID) === placeOf(service.registration);
    const strength = (service: Service) => strengthOf(service.claim, isRegistered(service));
    const best = group.reduce((a, b) => (isStronger(strength(b), strength(a)) ? b : a));
    const rivals = group.filter(
      (each) => !isStronger(strength(best), strength(each)) && nameOf(each) !== nameOf(best),
    );
    const losers = rivals.length > 0 ? group : group.filter((each) => nameOf(each) !== nameOf(best));
    return losers.map((service) => {
      const other = service.container === best.container ? (rivals[0] ?? best) : best;
      return { service, why: contest(service, other, rivals.length > 0) };
    });
  });
}

const nameOf = (service: Service): string => service.registration.Name;

const kinds: readonly Claim["by"][] = ["host", "unasked", "shared", "published"];

/**
 * Compared from left to right. Docker gives a published port to one container at a time, the one that started last. A port
 * that is only exposed belongs to the container that had it first, unless that one ran without using it.
 */
function strengthOf({ by, startMs, wasUnused }: Claim, isRegistered: boolean): readonly number[] {
  const isGiven = by === "published" || by === "unasked";
  return [kinds.indexOf(by), ...(isGiven ? [startMs] : [Number(isRegistered), Number(!wasUnused)])];
}

function isStronger(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((value, index) => value !== b[index]);
  return at >= 0 && (a[at] ?? 0) > (b[at] ?? 0);
}

function contest({ registration, claim }: Service, other: Service, isOpen: boolean): string {
  const its = `${isOpen ? "may be" : "is"} that of ${nameOf(other)} (container ${other.container})`;
  const port = registration.ID.split(":")[2] ?? registration.Port;
  const cure =
    claim.by === "host" || claim.by === "shared"
      ? `; if it does not listen there, set SERVICE_${port}_IGNORE=true`
      : "";
  return `its address, ${placeOf(registration)}, ${its}${cure}`;
}

const conflict = ({ registration }: Service, owner: string): string =>
  `its ID, ${registration.ID}, is that of ${owner}; set another SERVICE_ID`;

/** A service's registration as a comparable string, without the state of Docker's HEALTHCHECK. */
export function fingerprint(service: Service): string {
  const { Meta, ...rest } = service.registration;
  return JSON.stringify([rest, Object.entries(Meta).sort()]);
}
