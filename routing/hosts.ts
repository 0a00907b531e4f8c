/** The hosts and paths of services, and which host's routes come first. */
import { isWildcard } from "./grammar";
import type { Route, ServiceOptions } from "./types";

/** Undefined: any host. */
export const hostsOf = ({ host }: ServiceOptions): readonly (string | undefined)[] =>
  host?.split(",") ?? [undefined];

export const pathsOf = ({
  service,
  options,
}: {
  service: string;
  options: ServiceOptions;
}): readonly string[] => options.path?.split(",") ?? [`/${service}`];

/** Whether a route is for this host; undefined is a host that no route names. */
export const isForHost = ({ host }: Pick<Route, "host">, asked: string | undefined): boolean =>
  host === undefined || host === asked || (isWildcard(host) && asked?.endsWith(host.slice(1)) === true);

/** Sorts routes as requests find them: a host itself, then the longest wildcard, then any host. */
export const byHost = (a: Pick<Route, "host">, b: Pick<Route, "host">): number => rank(b) - rank(a);

const rank = ({ host }: Pick<Route, "host">): number =>
  host === undefined ? 0 : isWildcard(host) ? host.length : Number.MAX_SAFE_INTEGER;
