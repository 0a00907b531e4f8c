/** The schema of `services`: types, defaults, messages and what the documentation says of each key. */
import { z } from "zod";

import { optionKeys } from "../../routing/service-options";
import { imagePattern, list, mapping, mistake, oneOf, parse, positive, strings, text, unknownKey, whole } from "../schema"; // prettier-ignore

/** What the load balancer can balance. */
export const serviceTypes = ["rest", "http", "tcp"] as const;
export type ServiceType = (typeof serviceTypes)[number];

const command = list(text(/^[^\0]{1,4096}$/, "a word of the command")).check(({ value, issues }) => {
  if (value.length === 0)
    issues.push(mistake([], "is empty", "name the program and its arguments, a word each"));
});

/** A command whose exit code says whether the instance is well. */
const healthCheck = mapping({
  command: command.readonly(),
  intervalSeconds: whole(1, 3600).default(5),
  timeoutSeconds: whole(1, 3600).default(3),
  retries: whole(1, 100).default(3).describe("failures in a row that make it unhealthy"),
  startPeriodSeconds: whole(0, 3600).default(0).describe("time to start, in which failures do not count"),
}).readonly();
export type HealthCheckConfig = z.output<typeof healthCheck>;

const units = { k: 1024, m: 1024 ** 2, g: 1024 ** 3 } as const;

/** Docker's own way of writing sizes: `64m`, `1g`. */
const bytes = text(/^[1-9][0-9]{0,6}[kmg]$/, 'a size such as "64m" or "1g"')
  .transform((size) => Number(size.slice(0, -1)) * units[size.slice(-1) as keyof typeof units])
  .refine((size) => size >= 6 * units.m, 'Docker needs at least "6m"');

/** Swarm takes names of up to 63 characters. */
const nameForm = "lower-case words joined by / such as hello/v1, at most 63 characters";

/** The keys of a service as they are written. */
export const serviceKeys = {
  name: text(/^(?=.{1,63}$)[a-z0-9]+([._/-][a-z0-9]+)*$/, nameForm).describe(
    "name in Consul, and path: `hello/v1` answers at `/hello/v1`",
  ),
  image: text(imagePattern, 'an image reference such as "nginx:1.29"')
    .optional()
    .describe("image that the nodes have or can pull; either this or `build`"),
  build: text(/^[a-z0-9]+(-[a-z0-9]+)*$/, 'the name of a folder of templates/, such as "hello"')
    .optional()
    .describe("folder of `templates/` to build the image from"),
  port: whole(1, 65535, "set the port that its program listens on").describe(
    "port that the program in the container listens on",
  ),
  type: oneOf(serviceTypes)
    .default("rest")
    .describe("`rest` or `http`: routed by path; `tcp`: a port of its own on the load balancer (`tcp_port`)"),
  replicas: whole(0, 1000).default(1).describe("number of instances over all nodes"),
  command: command.optional().describe("command instead of the image's own, as a list of words"),
  cpus: positive(1024)
    .optional()
    .describe("most CPUs that one instance may use, such as `0.5`; no limit by default"),
  memory: bytes
    .optional()
    .describe("most memory that one instance may use, such as `64m`; no limit by default"),
  env: strings(/^[A-Za-z_][A-Za-z0-9_]{0,254}$/, "letters, digits and underscores")
    .default({})
    .describe("environment"),
  meta: strings(/^[a-z][a-z0-9_]{0,63}$/, "lower-case letters, digits and underscores")
    .default({})
    .describe("[routing options](routing.md), and Registrator's `check_…`"),
  healthCheck: z
    .union([z.literal("image"), healthCheck])
    .optional()
    .describe(
      "Docker health check: `command`, `intervalSeconds` 5, `timeoutSeconds` 3, `retries` 3, `startPeriodSeconds` 0; or `image` if the image has its own",
    ),
  stopGracePeriodSeconds: whole(1, 3600)
    .default(10)
    .describe("time that an instance has to finish its work before it is killed"),
};

export const service = mapping(serviceKeys)
  .check(({ value, issues }) => {
    const { image, build, type, meta } = value;
    if ((image === undefined) === (build === undefined))
      issues.push(mistake([], "needs either image or build", "set one of the two"));
    // `check_…` are Registrator's, for Consul's own checks.
    const unknown = Object.keys(meta).find((key) => !key.startsWith("check_") && !optionKeys.includes(key));
    if (unknown !== undefined)
      issues.push(mistake(["meta", unknown], "is not known", unknownKey(optionKeys)));
    if (type === "tcp" && meta["tcp_port"] === undefined) {
      const problem = `is missing, so the load balancer has no port for ${value.name}`;
      issues.push(mistake(["meta", "tcp_port"], problem, "set the port it is to listen on"));
    }
  })
  .transform(({ image, build = "", cpus, memory, name, ...rest }) => ({
    ...rest,
    name,
    /** The name of its Swarm service: `hello/v1` is `hello-v1`. */
    swarmName: name.replace(/[/.]/g, "-"),
    source: image === undefined ? { build } : { image },
    limits:
      cpus === undefined && memory === undefined
        ? undefined
        : { ...(cpus !== undefined && { cpus }), ...(memory !== undefined && { memoryBytes: memory }) },
  }))
  .readonly();

/** A service of the configuration, with every default filled in. */
export type ServiceConfig = z.output<typeof service>;

/** The list `services`, in which no two have one name, neither here nor in Docker. */
export const services = list(service)
  .check(({ value, issues }) => {
    const byName = new Map<string, string>();
    for (const [index, { name, swarmName }] of value.entries()) {
      const other = byName.get(swarmName);
      if (other !== undefined) {
        const problem =
          other === name
            ? `is ${name}, which another service has too`
            : `is ${name}, which Docker would call ${swarmName}, as it would ${other}`;
        issues.push(mistake([index, "name"], problem, "rename one of the two"));
      }
      byName.set(swarmName, name);
    }
  })
  .readonly();

/**
 * Reads one service.
 *
 * @param key where it stands, for errors: `services[0]`
 * @throws UserError naming the key and its cure
 */
export function parseService(value: unknown, key: string): ServiceConfig {
  return parse(service, value, key);
}
