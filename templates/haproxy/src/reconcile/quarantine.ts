/**
 * Finds the services that HAProxy will not load, so that the others go on without them. The grammar of names and options
 * rejects everything that HAProxy is known to refuse; this is for the rest, and for what only this machine objects to.
 */
import type { Catalog, Routing } from "../../../../routing/types";

/** HAProxy's complaint, by the service's name. */
export type Refused = ReadonlyMap<string, string>;

/** HAProxy's complaint about a configuration that has only these services; undefined if it would load it. */
type Check = (routing: Routing) => Promise<string | undefined>;

/**
 * Halves the services until it has found each that HAProxy refuses by itself. Finds none if the fault is not in a single
 * service: then HAProxy objects to the settings, or to services that are wrong only together.
 */
export async function findRefused(routing: Routing, check: Check): Promise<Refused> {
  const refused = new Map<string, string>();
  if ((await check(only(routing, new Set()))) !== undefined) return refused;
  const search = async (services: readonly string[]): Promise<void> => {
    const complaint = await check(only(routing, new Set(services)));
    if (complaint === undefined) return;
    const [service, ...more] = services;
    if (service === undefined) return;
    if (more.length === 0) {
      refused.set(service, complaint);
      return;
    }
    const half = Math.ceil(services.length / 2);
    await search(services.slice(0, half));
    await search(services.slice(half));
  };
  await search(routing.backends.map(({ service }) => service));
  return refused;
}

/** Without routes: those are in maps, which HAProxy loads whatever they hold. */
function only(routing: Routing, services: ReadonlySet<string>): Routing {
  const wanted = ({ service }: { readonly service: string }) => services.has(service);
  return {
    ...routing,
    backends: routing.backends.filter(wanted),
    tcp: routing.tcp.filter(wanted),
    routes: [],
  };
}

/** The services whose ports HAProxy could not bind, which it only finds out when it starts. */
export function portsRefused(routing: Routing, error: unknown): Refused {
  if (!(error instanceof Error)) return new Map();
  const sentences = error.message.split("; ");
  return new Map(
    routing.tcp.flatMap(({ port, service }) => {
      const sentence = sentences.find((each) => new RegExp(`\\btcp:${port}\\b`).test(each));
      return sentence === undefined ? [] : [[service, sentence] as const];
    }),
  );
}

/** Services that stay out of the routing until their registrations change. */
export class Quarantine {
  private readonly services = new Map<string, { readonly why: string; readonly registrations: string }>();

  add(refused: Refused, catalog: Catalog): void {
    for (const [service, why] of refused)
      this.services.set(service, { why, registrations: registrationsOf(catalog, service) });
  }

  /** The services that are still registered as when HAProxy refused them. */
  current(catalog: Catalog): Refused {
    for (const [service, { registrations }] of this.services)
      if (registrationsOf(catalog, service) !== registrations) this.services.delete(service);
    return new Map([...this.services].map(([service, { why }]) => [service, why]));
  }
}

const registrationsOf = ({ instances }: Catalog, service: string): string =>
  JSON.stringify(instances.filter((instance) => instance.service === service));
