import type { Notice } from "../../../../routing/notices";
import { checkOf, dockerHealthOf } from "./checks";
import { isOn, metadataOf, tagsOf } from "./metadata";
import { cleanMeta, hasControls, problemWithName, quoted } from "./rules";
import { portsAskedFor, requestOf, whyUnpublished } from "./unregistered";
import type { Inspect, PortBinding, Service, ServiceOptions } from "../types";

export interface ServicesOf {
  readonly services: readonly Service[];
  /** One sentence for everything left out, with the reason. */
  readonly problems: readonly string[];
  /** What asks for load balancing and is not registered. */
  readonly notices: readonly Notice[];
}

/** Meta key with the default ID of a service that has a SERVICE_ID. It marks the service as ours. */
export const originKey = "registrator_id";

/** Keys of SERVICE_* that do not become meta. */
const consumed = new Set(["id", "name", "tags", "ignore", originKey]);

interface Port {
  readonly exposed: string;
  readonly protocol: string;
  readonly binding?: PortBinding;
}

/**
 * The services of a container, one per port. If it shares the network of another container (`--network container:…`),
 * pass that one as `owner`: its published ports and addresses apply.
 */
export function servicesOf(container: Inspect, options: ServiceOptions, owner?: Inspect): ServicesOf {
  const ports = portsOf(container, owner).filter((port) => options.internal || port.binding);
  const services: Service[] = [];
  const problems: string[] = [];
  const notices: Notice[] = [];
  /** Tells the load balancers about a port that asks for one. Returns whether it asks to be registered at all. */
  const leaveOut = (port: Pick<Port, "exposed" | "protocol">, why: string): boolean => {
    const request = requestOf(container, port, options);
    const service = request?.name || imageName(container.Config?.Image ?? "");
    if (request?.isRouted) notices.push({ container: nameOf(container), service, why });
    return request !== undefined;
  };
  for (const port of ports) {
    const { service, problems: found } = serviceOf(
      container,
      port,
      ports.length > 1,
      options,
      owner ?? container,
    );
    if (service) services.push(service);
    else for (const problem of found) leaveOut(port, `it is ${problem}`);
    problems.push(
      ...found.map((problem) => `container ${nameOf(container)}, port ${port.exposed}: ${problem}`),
    );
  }
  if (ports.length === 0) {
    const why = whyUnpublished(container, owner, options);
    if (portsAskedFor(container).some((port) => leaveOut(port, why)))
      problems.push(`container ${nameOf(container)}: not registered: ${why}`);
  }
  return { services, problems, notices };
}

export const nameOf = (container: Inspect): string => container.Name.replace(/^\//, "");

/** Name or ID of the container whose network this one shares; undefined if it shares none. */
export function networkOwnerOf(container: Inspect): string | undefined {
  return /^container:(.+)$/.exec(container.HostConfig?.NetworkMode ?? "")?.[1];
}

function portsOf(container: Inspect, owner: Inspect | undefined): Port[] {
  const exposed = Object.keys(container.Config?.ExposedPorts ?? {});
  const published = (owner ?? container).NetworkSettings?.Ports ?? {};
  const mode = (owner ?? container).HostConfig?.NetworkMode;
  // Nothing is published on the host's network: exposed ports listen on the host itself.
  const found: [string, PortBinding | undefined][] =
    mode === "host"
      ? exposed.map((key) => [key, { HostIp: "0.0.0.0", HostPort: key.split("/")[0] ?? "" }])
      : (owner ? exposed : Object.keys(published)).map((key) => [key, bestBinding(published[key])]);
  return found
    .map(([key, binding]): Port => {
      const [port = "", protocol = "tcp"] = key.split("/");
      return { exposed: port, protocol, ...(binding && { binding }) };
    })
    .sort((a, b) => Number(a.exposed) - Number(b.exposed) || (a.protocol < b.protocol ? -1 : 1));
}

/** With IPv6, an engine lists a port twice, on some versions with different numbers. Prefers IPv4. */
function bestBinding(bindings: readonly PortBinding[] | null | undefined): PortBinding | undefined {
  const usable = (bindings ?? []).filter((binding) => Number(binding.HostPort) > 0);
  return usable.find((binding) => !binding.HostIp?.includes(":")) ?? usable[0];
}

function serviceOf(
  container: Inspect,
  port: Port,
  isGroup: boolean,
  options: ServiceOptions,
  network: Inspect,
): { service?: Service; problems: string[] } {
  const { values, fromPort } = metadataOf(
    container.Config?.Env ?? [],
    container.Config?.Labels ?? {},
    port.exposed,
    port.protocol,
  );
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

  const address = addressOf(container, port, options, network);
  const number = Number(options.internal ? port.exposed : port.binding?.HostPort);
  if (address === undefined) {
    const wanted = options.network ? `in network ${options.network}` : "of its own";
    return { problems: [`not registered: it has no address ${wanted}`] };
  }

  const problems: string[] = [];
  const all = [...tagsOf(values.get("tags") ?? ""), ...options.tags, ...(extra ? [extra] : [])];
  const tags = [...new Set(all)].filter((tag) => !hasControls(tag));
  if (tags.length < new Set(all).size) problems.push("left out a tag that contains a control character");
  const marked = id !== defaultId;
  const cleaned = cleanMeta(
    [...values].filter(([key, value]) => !consumed.has(key) && value !== ""),
    marked ? 63 : 64,
  );
  const asked = checkOf(values, {
    address,
    port: number,
    exposedPort: port.exposed,
    containerId: container.Id,
  });
  const docker = asked.check ? undefined : dockerHealthOf(container.State?.Health?.Status, values);
  const check = asked.check ?? docker?.check;
  problems.push(...cleaned.problems, ...asked.problems);
  return {
    service: {
      container: nameOf(container),
      registration: {
        ID: id,
        Name: name,
        Address: address,
        Port: number,
        Tags: tags,
        Meta: { ...cleaned.meta, ...(marked && { [originKey]: defaultId }) },
        ...(check && { Check: check }),
      },
      ...(docker && { health: docker.health }),
    },
    problems,
  };
}

/** `registry:5000/team/web:1.2@sha256:…` is `web`. */
export function imageName(image: string): string {
  const base = image.slice(image.lastIndexOf("/") + 1);
  return base.split("@")[0]?.split(":")[0] ?? "";
}

function addressOf(
  container: Inspect,
  port: Port,
  options: ServiceOptions,
  network: Inspect,
): string | undefined {
  const label = options.addressLabel && container.Config?.Labels?.[options.addressLabel];
  if (label) return label.split("/")[0];
  if (options.internal) {
    if (network.HostConfig?.NetworkMode === "host") return options.address;
    const networks = network.NetworkSettings?.Networks ?? {};
    const names = options.network ? [options.network] : Object.keys(networks).sort();
    // Swarm's ingress network carries only published ports: containers are not reachable by their addresses in it.
    return names
      .filter((name) => name !== "ingress")
      .map((name) => networks[name]?.IPAddress)
      .find((address) => address);
  }
  if (options.forcedAddress) return options.forcedAddress;
  const bound = port.binding?.HostIp ?? "";
  return ["", "0.0.0.0", "::"].includes(bound) ? options.address : bound;
}
