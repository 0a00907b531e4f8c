import type { Notice } from "../../../../routing/notices";
import { originKey } from "../../../../routing/shared-ports";
import { endpointOf, type Port } from "./address";
import { checkOf, dockerHealthOf } from "./checks";
import { imageName, isOn, metadataOf } from "../../../../routing/registration";
import { cleanMeta, cleanTags, problemWithName, quoted } from "./rules";
import { declaredBy, portsAskedFor, requestOf, whyUnpublished } from "./unregistered";
import type { Claim, Inspect, PortBinding, Service, ServiceOptions } from "../types";

export interface ServicesOf {
  readonly services: readonly Service[];
  /** One sentence for everything left out, with the reason. */
  readonly problems: readonly string[];
  /** What asks for load balancing and is not registered. */
  readonly notices: readonly Notice[];
  /** Where programs listen on its TCP ports of the host's network, if that is known. */
  readonly hostPorts: ReadonlyMap<number, readonly string[]>;
}

/** Keys of SERVICE_* that do not become meta. */
const consumed = new Set(["id", "name", "tags", "ignore", originKey]);

/** A container is untrusted, and each port is a service in Consul. */
const mostPorts = 512;

/**
 * The services of a container, one per port. If it shares the network of another container (`--network container:…`),
 * pass that one as `owner`: its published ports and addresses apply. `networkObstacle`: why none of the ports can be reached, if so.
 */
export function servicesOf(
  container: Inspect,
  options: ServiceOptions,
  owner?: Inspect,
  networkObstacle?: string,
): ServicesOf {
  const declared = declaredBy(container);
  const obstacle = declared.obstacle ?? networkObstacle;
  const all = obstacle === undefined ? portsOf(container, owner) : [];
  const reachable = all.filter((port) => options.internal || port.bindings.length > 0);
  const ports = reachable.slice(0, mostPorts);
  const services: Service[] = [];
  const problems: string[] = [];
  const about = (problem: string, port = "") =>
    problems.push(`container ${nameOf(container)}${port && `, port ${port}`}: ${problem}`);
  for (const problem of declared.problems) about(problem);
  if (declared.obstacle !== undefined) about(`not registered: ${declared.obstacle}`);
  if (ports.length < reachable.length)
    about(`left out ${reachable.length - ports.length} of its ports: it has more than ${mostPorts}`);
  const notices: Notice[] = [];
  const leaveOut = (port: Pick<Port, "exposed" | "protocol">, why: string): boolean => {
    const found = noticesOf(container, port, why, options);
    notices.push(...(found ?? []));
    return found !== undefined;
  };
  const hostPorts = new Map<number, readonly string[]>();
  for (const port of ports) {
    const {
      service,
      listening,
      problems: found,
    } = serviceOf(container, port, ports.length > 1, options, owner);
    if (service) services.push(service);
    else for (const problem of found) leaveOut(port, `it is ${problem}`);
    if (listening) hostPorts.set(Number(port.exposed), listening);
    for (const problem of found) about(problem, port.exposed);
  }
  if (ports.length === 0) {
    const asked = portsAskedFor(container);
    const named = new Set<string>();
    for (const port of asked.ports) {
      const name = requestOf(container, port, options)?.name;
      // Ports with one name are one service.
      if (name === undefined || named.has(name)) continue;
      named.add(name);
      const why = obstacle ?? whyUnpublished(container, port.exposed, owner, options);
      leaveOut(port, why);
      if (declared.obstacle === undefined) about(`not registered: ${why}`);
    }
    if (named.size > 0) for (const problem of asked.problems) about(problem);
  }
  return { services, problems, notices, hostPorts };
}

/** What the load balancers are told about a port that is not registered; undefined if it does not ask to be. */
export function noticesOf(
  container: Inspect,
  port: Pick<Port, "exposed" | "protocol">,
  why: string,
  options: ServiceOptions,
): readonly Notice[] | undefined {
  const request = requestOf(container, port, options);
  const service = request?.name || imageName(container.Config?.Image ?? "");
  return request && (request.isRouted ? [{ container: nameOf(container), service, why }] : []);
}

export const nameOf = (container: Inspect): string => container.Name.replace(/^\//, "");

/** Milliseconds since 1970. NaN, which no time is before or after, if an engine does not tell. */
export const startMs = ({ State: state }: Inspect): number => Date.parse(state?.StartedAt ?? "");

function portsOf(container: Inspect, owner: Inspect | undefined): Port[] {
  const exposed = Object.keys(container.Config?.ExposedPorts ?? {});
  const published = (owner ?? container).NetworkSettings?.Ports ?? {};
  const mode = (owner ?? container).HostConfig?.NetworkMode;
  const isHost = mode === "host";
  // Nothing is published on the host's network: exposed ports listen on the host itself.
  const found: [string, readonly PortBinding[]][] = isHost
    ? exposed.map((key) => [key, [{ HostIp: "", HostPort: key.split("/")[0] ?? "" }]])
    : (owner ? exposed : Object.keys(published)).map((key) => [key, published[key] ?? []]);
  return found
    .map(([key, bindings]): Port => {
      const [port = "", protocol = "tcp"] = key.split("/");
      return {
        exposed: port,
        protocol,
        isHost,
        bindings: bindings.filter(({ HostPort }) => Number(HostPort) > 0),
      };
    })
    .sort((a, b) => Number(a.exposed) - Number(b.exposed) || (a.protocol < b.protocol ? -1 : 1));
}

/** Who listens on a port of the host's network. An image may EXPOSE ports that the program does not use. */
function listenersOf(
  { isHost, protocol, exposed }: Port,
  options: ServiceOptions,
): readonly string[] | undefined {
  const isKnown = isHost && protocol === "tcp" && !options.internal;
  return isKnown ? options.listenersOn?.(Number(exposed)) : undefined;
}

function claimOf(container: Inspect, { isHost, protocol }: Port, isAsked: boolean, isMember: boolean): Claim {
  const by = isHost ? "host" : isMember ? "shared" : isAsked ? "published" : "unasked";
  return { by, protocol, startMs: startMs(container) };
}

function serviceOf(
  container: Inspect,
  port: Port,
  isGroup: boolean,
  options: ServiceOptions,
  owner: Inspect | undefined,
): { service?: Service; problems: string[]; listening?: readonly string[] } {
  const { values, fromPort } = metadataOf(declaredBy(container), port.exposed, port.protocol);
  const given = values.get("name") ?? "";
  if (isOn(values.get("ignore")) || (options.explicit && given === "")) return { problems: [] };

  const suffix = isGroup && !(given && fromPort.has("name")) ? `-${port.exposed}` : "";
  const name = (given || imageName(container.Config?.Image ?? "")) + suffix;
  const nameProblem = problemWithName(name);
  if (nameProblem)
    return { problems: [`not registered as ${quoted(name)}: ${nameProblem}; set another SERVICE_NAME`] };

  const extra = port.protocol === "tcp" ? "" : port.protocol;
  const defaultId = `${options.hostname}:${nameOf(container)}:${port.exposed}${extra && `:${extra}`}`;
  const id = values.get("id") || defaultId;
  const idProblem = problemWithName(id);
  if (idProblem)
    return { problems: [`not registered with ID ${quoted(id)}: ${idProblem}; set another SERVICE_ID`] };

  const listening = listenersOf(port, options);
  const seen = listening ? { listening } : {};
  if (listening?.length === 0) return { ...seen, problems: [] };
  const bindings = listening?.map((HostIp) => ({ HostIp, HostPort: port.exposed })) ?? port.bindings;
  const endpoint = endpointOf(container, { ...port, bindings }, options, owner ?? container);
  if (endpoint.problem !== undefined) return { ...seen, problems: [`not registered: ${endpoint.problem}`] };

  const { tags, problems } = cleanTags(values.get("tags") ?? "", [
    ...options.tags,
    ...(extra ? [extra] : []),
  ]);
  const marked = id !== defaultId;
  const cleaned = cleanMeta(
    [...values].filter(([key, value]) => !consumed.has(key) && value !== ""),
    marked ? 63 : 64,
  );
  const asked = checkOf(values, {
    ...endpoint,
    exposedPort: port.exposed,
    containerId: container.Id,
  });
  const docker = asked.check ? undefined : dockerHealthOf(container.State?.Health?.Status, values);
  const check = asked.check ?? docker?.check;
  problems.push(...cleaned.problems, ...asked.problems);
  return {
    ...seen,
    service: {
      container: nameOf(container),
      claim: claimOf(container, port, given !== "" || values.has("tags"), owner !== undefined),
      registration: {
        ID: id,
        Name: name,
        Address: endpoint.address,
        Port: endpoint.port,
        Tags: tags,
        Meta: { ...cleaned.meta, ...(marked && { [originKey]: defaultId }) },
        ...(check && { Check: check }),
      },
      ...(docker && { health: docker.health }),
    },
    problems,
  };
}
