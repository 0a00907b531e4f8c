/** The schema of `ports`: what a service listens on beside its `port`, each with a type, a name and options of its own. */
import type { z } from "zod";

import { optionKeys } from "../../routing/service-options";
import { mapping, mistake, oneOf, strings, text, unknownKey, whole } from "../schema";

/** Swarm takes names of up to 63 characters. */
const nameForm = "lower-case words joined by /, such as hello/v1, with at most 63 characters";
export const serviceName = () => text(/^(?=.{1,63}$)[a-z0-9]+([._/-][a-z0-9]+)*$/, nameForm);

export const portNumber = () => whole(1, 65535);
export const meta = () =>
  strings(/^[a-z][a-z0-9_]{0,63}$/, "lower-case letters, digits and underscores").default({});

export const furtherPort = mapping({
  port: portNumber(),
  name: serviceName().optional(),
  type: oneOf(["rest", "http", "tcp"]).default("rest"),
  meta: meta(),
});

export type FurtherPort = z.output<typeof furtherPort> & { readonly name: string };

/** What is wrong with the routing options of a service or of one of its further ports. */
export function mistakesOfMeta(
  { name, type, meta: options }: { name: string; type: string; meta: Readonly<Record<string, string>> },
  path: (string | number)[] = [],
): z.core.$ZodRawIssue[] {
  const at = [...path, "meta"];
  // Registrator reads `check_…`, for Consul's checks.
  const unknown = Object.keys(options).find((key) => !key.startsWith("check_") && !optionKeys.includes(key));
  const problem = `is missing, so the load balancer has no port for ${name}`;
  const cure = "set the port that the load balancer listens on for it";
  return [
    ...(unknown === undefined ? [] : [mistake([...at, unknown], "is not known", unknownKey(optionKeys))]),
    ...(type === "tcp" && options["tcp_port"] === undefined
      ? [mistake([...at, "tcp_port"], problem, cure)]
      : []),
  ];
}

/** As Registrator names the ports of a container with several. */
export const nameOfPort = (service: string, { port, name }: z.output<typeof furtherPort>): string =>
  name ?? `${service}-${port}`;

/** Whether a service has a port that only the nodes and their containers reach. */
export const hasInternalPort = (service: {
  meta: Readonly<Record<string, string>>;
  ports: readonly FurtherPort[];
}): boolean => [service, ...service.ports].some(({ meta: options }) => options["internal"] !== undefined);

/** What further ports a service cannot have. */
export function mistakesOfPorts({
  name,
  type,
  port,
  ports,
  replicas,
}: {
  name: string;
  type: string;
  port?: number | undefined;
  ports: readonly z.output<typeof furtherPort>[];
  replicas: unknown;
}): z.core.$ZodRawIssue[] {
  if (ports.length === 0) return [];
  if (type === "none")
    return [
      mistake(["ports"], "is set, but nothing reaches a service of type none", "remove it, or set type"),
    ];
  const numbers = [port, ...ports.map((each) => each.port)];
  const twice = ports.findIndex((each, index) => numbers.indexOf(each.port) <= index);
  return [
    ...(twice < 0
      ? []
      : [
          mistake(
            ["ports", twice, "port"],
            `is ${ports[twice]?.port}, which is listed twice`,
            "remove one of the two",
          ),
        ]),
    ...(typeof replicas === "object"
      ? [
          mistake(
            ["replicas"],
            "is a range, but the autoscaler knows the requests of one port only",
            "set a number, or remove ports",
          ),
        ]
      : []),
    ...ports.flatMap((each, index) =>
      mistakesOfMeta({ ...each, name: nameOfPort(name, each) }, ["ports", index]),
    ),
  ];
}
