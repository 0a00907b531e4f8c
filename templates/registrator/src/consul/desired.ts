import { originKey } from "../../../../routing/shared-ports";
import type { Service } from "../types";

export interface Desired {
  readonly services: ReadonlyMap<string, Service>;
  /** Services that are not registered because their ID is taken. */
  readonly conflicts: readonly { readonly service: Service; readonly sentence: string }[];
}

/**
 * Picks one service per ID. A default ID wins over an equal SERVICE_ID, and services that others registered with the
 * agent (`foreign`) are never overwritten.
 */
export function desiredOf(services: Iterable<Service>, foreign: ReadonlySet<string>): Desired {
  const byId = new Map<string, Service>();
  const conflicts: { service: Service; sentence: string }[] = [];
  const isChosen = (service: Service) => originKey in service.registration.Meta;
  const order = Array.from(services).sort((a, b) => Number(isChosen(a)) - Number(isChosen(b)));
  for (const service of order) {
    const { ID: id } = service.registration;
    const other = byId.get(id);
    if (other) {
      conflicts.push({
        service,
        sentence: conflict(service, `container ${other.container} already uses it`),
      });
    } else if (isChosen(service) && foreign.has(id)) {
      conflicts.push({
        service,
        sentence: conflict(service, "a service not registered by Registrator already uses it"),
      });
    } else {
      byId.set(id, service);
    }
  }
  return { services: byId, conflicts };
}

function conflict({ container, registration }: Service, why: string): string {
  return `container ${container}: not registered with ID ${registration.ID}: ${why}; set another SERVICE_ID`;
}

/** A service's registration as a comparable string, without the state of Docker's HEALTHCHECK. */
export function fingerprint(service: Service): string {
  const { Meta, ...rest } = service.registration;
  return JSON.stringify([rest, Object.entries(Meta).sort()]);
}
