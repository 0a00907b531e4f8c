/**
 * Which services HAProxy refuses, so that the others go on without them. The grammar of names and options lets nothing
 * through that is known to be refused; this is for what is not known, and for what only this machine has against it.
 */
import type { Routing } from "../../../../routing/build";

/** By the service's name, what HAProxy says. */
export type Refused = ReadonlyMap<string, string>;

export class ServicesRefused extends Error {
  constructor(readonly services: Refused) {
    super(`HAProxy refuses ${[...services.keys()].join(", ")}`);
  }
}

type Check = (routing: Routing) => Promise<string | undefined>;

/**
 * Halves the services until each that is refused by itself is found. None when the fault is not in one service: then
 * HAProxy has something against the settings, or against services that only together are wrong.
 */
export async function checkServices(routing: Routing, check: Check): Promise<Refused> {
  const refused = new Map<string, string>();
  if ((await check(only(routing, new Set()))) !== undefined) return refused;
  const look = async (services: readonly string[]): Promise<void> => {
    const complaint = await check(only(routing, new Set(services)));
    if (complaint === undefined) return;
    const [service, ...more] = services;
    if (service === undefined) return;
    if (more.length === 0) {
      refused.set(service, complaint);
      return;
    }
    const half = Math.ceil(services.length / 2);
    await look(services.slice(0, half));
    await look(services.slice(half));
  };
  await look(routing.backends.map(({ service }) => service));
  return refused;
}

/** Routes are in maps, which HAProxy takes whatever is in them. */
function only(routing: Routing, services: ReadonlySet<string>): Routing {
  const wanted = ({ service }: { readonly service: string }) => services.has(service);
  return {
    ...routing,
    backends: routing.backends.filter(wanted),
    tcp: routing.tcp.filter(wanted),
    routes: [],
  };
}

/** Services whose ports HAProxy could not have, which it only finds out when it starts. */
export function servicesNamed(routing: Routing, error: unknown): ServicesRefused | undefined {
  if (!(error instanceof Error)) return undefined;
  const sentences = error.message.split("; ");
  const refused = routing.tcp.flatMap(({ port, service }) => {
    const sentence = sentences.find((each) => new RegExp(`\\btcp:${port}\\b`).test(each));
    return sentence === undefined ? [] : [[service, sentence] as const];
  });
  return refused.length === 0 ? undefined : new ServicesRefused(new Map(refused));
}
