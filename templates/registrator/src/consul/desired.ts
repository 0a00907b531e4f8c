import { originKey } from "../service/services";
import type { Service } from "../types";

export interface Desired {
  readonly services: ReadonlyMap<string, Service>;
  /** Services that are not registered because their ID is another's. */
  readonly conflicts: readonly { readonly service: Service; readonly sentence: string }[];
}

/**
 * One service per ID. An ID of Registrator's form beats one that a container chose for itself, and what others registered
 * with the agent (`foreign`) is never overwritten.
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
      conflicts.push({ service, sentence: conflict(service, `container ${other.container} has it already`) });
    } else if (isChosen(service) && foreign.has(id)) {
      conflicts.push({
        service,
        sentence: conflict(service, "a service that is not Registrator's has it already"),
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

/** What Consul is told, as a string to compare; the state of Docker's HEALTHCHECK is kept apart. */
export function fingerprint(service: Service): string {
  const { Meta, ...rest } = service.registration;
  return JSON.stringify([rest, Object.entries(Meta).sort()]);
}
