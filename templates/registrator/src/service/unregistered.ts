/** Containers that ask to be registered and cannot be: why, for the log and for the load balancers' status page. */
import { noticeService, writeNotices, type Notice } from "../../../../routing/notices";
import { wantsRouting } from "../../../../routing/service-options";
import type { Port } from "./address";
import type { Inspect, Service, ServiceOptions } from "../types";
import {
  declarationsOf,
  isOn,
  metadataOf,
  tagsOf,
  type Declarations,
} from "../../../../routing/registration";

/** A port of a container, or the container as a whole, that asks to be registered: the name in Consul, and whether to route it. */
export interface Request {
  readonly name: string;
  readonly isRouted: boolean;
}

const read = new WeakMap<Inspect, Declarations>();

/** Each of a container's ports asks for them. */
export function declaredBy(container: Inspect): Declarations {
  const known = read.get(container);
  if (known) return known;
  const declarations = declarationsOf(container.Config?.Env ?? [], container.Config?.Labels ?? {});
  read.set(container, declarations);
  return declarations;
}

/** Undefined if the container does not ask for it. */
export function requestOf(
  container: Inspect,
  port: Pick<Port, "exposed" | "protocol">,
  options: ServiceOptions,
): Request | undefined {
  const { values } = metadataOf(declaredBy(container), port.exposed, port.protocol);
  const name = values.get("name") ?? "";
  const tags = tagsOf(values.get("tags") ?? "");
  if (isOn(values.get("ignore")) || (options.explicit && name === "")) return undefined;
  if (name === "" && tags.length === 0) return undefined;
  return { name, isRouted: wantsRouting([...tags, ...options.tags]) };
}

/** More than load balancers are told about a whole node. */
const mostAskedFor = 64;

/** The ports that a container exposes or names in its variables; one without a number if there are none. */
export function portsAskedFor(container: Inspect): {
  readonly ports: readonly Pick<Port, "exposed" | "protocol">[];
  readonly problems: readonly string[];
} {
  const exposed = Object.keys(container.Config?.ExposedPorts ?? {}).sort();
  const named = [...declaredBy(container).ofPorts.keys()].filter((port) => port > 0 && port < 65_536);
  const ports = [...new Set([...exposed, ...named.map((port) => `${port}/tcp`)])];
  const kept = ports.slice(0, mostAskedFor);
  return {
    ports: (kept.length === 0 ? [""] : kept).map((key) => {
      const [port = "", protocol = "tcp"] = key.split("/");
      return { exposed: port, protocol };
    }),
    problems:
      kept.length < ports.length
        ? [
            `left out ${ports.length - kept.length} of the ports that it exposes or names: it has more than ${mostAskedFor}`,
          ]
        : [],
  };
}

/** Why no port of a running container can be reached, with the cure for one that it asks for. */
export function whyUnpublished(
  container: Inspect,
  asked: string,
  owner: Inspect | undefined,
  options: ServiceOptions,
): string {
  const network = owner ?? container;
  const exposed = Object.keys(container.Config?.ExposedPorts ?? {})
    .map((key) => key.split("/")[0] ?? "")
    .sort();
  const port = exposed.includes(asked) ? asked : (exposed[0] ?? "PORT");
  if (options.internal || network.HostConfig?.NetworkMode === "host")
    return `it exposes no port; add --expose ${port}`;
  if ("ingress" in (network.NetworkSettings?.Networks ?? {}))
    return `its ports are published through Swarm's ingress network, which hides the instances; publish them with mode=host`;
  if (owner)
    return `container ${owner.Name.replace(/^\//, "")}, whose network it shares, does not publish its port; publish it there, and EXPOSE ${port} in this one's image`;
  return exposed.length === 0
    ? "it publishes no port; start it with -p PORT"
    : `its port ${port} is not published; start it with -P or -p ${port}`;
}

/** The service that carries this node's notices to the load balancers; none without notices. */
export function noticeServices(
  notices: readonly Notice[],
  options: Pick<ServiceOptions, "hostname" | "address">,
): Service[] {
  if (notices.length === 0) return [];
  const sorted = [...notices].sort((a, b) => (a.container < b.container ? -1 : 1));
  const registration = {
    // No container has a port 0.
    ID: `${options.hostname}:registrator:0`,
    Name: noticeService,
    Address: options.address,
    Port: 0,
    Tags: [],
    Meta: writeNotices(sorted),
  };
  return [
    {
      container: "registrator",
      claim: { by: "published", protocol: "none", startMs: 0 },
      registration,
    },
  ];
}
