/**
 * The rules for every resource of a stack. Each rule checks some inputs of some types, and says in one sentence what is
 * wrong and how to fix it. Pure.
 */
import { isMapping } from "../../lib/values";
import { fields } from "../nodes/target";
import { openings } from "./openings";
import {
  container,
  rollingContainer,
  swarmService,
  type BuiltImages,
  type Registration,
  type Rule,
} from "./types";

const image = "docker:index/image:Image";
const imagePull = "pulumi-nodejs:dynamic/switchyard:ImagePull";
/** The filters in front of the Docker socket: Registrator's, the autoscaler's, and that of the jobs that make backups. */
const socketFilters: readonly (string | undefined)[] = [
  "switchyard:index:DockerSocketProxy",
  "switchyard:index:AutoscalerSocket",
  "switchyard:index:Dumps",
];

export const rules: readonly Rule[] = [
  ...openings,
  {
    name: "no :latest",
    types: [container, rollingContainer, swarmService, imagePull, image],
    inputs: ["image", "build"],
    check: ({ type, inputs }) => {
      const used = type === image ? baseOf(inputs["build"]) : inputs["image"];
      if (typeof used !== "string" || !isLatest(used)) return undefined;
      return `uses the image ${used}, which can change at any time: use a version or a digest, such as ${parseImage(used).repository}:1.2.3`;
    },
  },
  {
    name: "a health check on every service",
    types: [container, rollingContainer, swarmService],
    inputs: ["image", "healthCheck", "healthcheck", "labels"],
    check: ({ type, inputs }, images) => {
      const labels = labelsOf(inputs["labels"]);
      if (type !== rollingContainer && labels.get("SERVICE_IGNORE") !== undefined) return undefined;
      const used = inputs["image"];
      const checked =
        given(inputs["healthCheck"]) ||
        given(inputs["healthcheck"]) ||
        [...labels.keys()].some(isCheckLabel) ||
        typeof used !== "string" ||
        images.hasHealthCheck(parseImage(used).repository);
      return checked
        ? undefined
        : "has no health check, so a failure would go unnoticed: set healthCheck (a command, or image if the image has its own), meta.health_path, or a Registrator check such as meta.check_tcp";
    },
  },
  noSocketIn("volumes", "hostPath"),
  noSocketIn("mounts", "source"),
];

/** Only the filters in front of Registrator, the autoscaler and backups may mount the Docker socket. `key` is the field with the path on the node. */
function noSocketIn(input: "volumes" | "mounts", key: string): Rule {
  return {
    name: "the Docker socket only in filters",
    types: [container, rollingContainer, swarmService],
    inputs: [input],
    check: ({ parentType, inputs }) =>
      !socketFilters.includes(parentType) && pathsIn(inputs[input], key).some(holdsSocket)
        ? "mounts the Docker socket, which gives full control of the node: remove the mount, which only the filters in front of Registrator, the autoscaler and backups may have"
        : undefined,
  };
}

/** What is wrong with a resource according to the first rule that it breaks; undefined if it breaks none. */
export function violation(registration: Registration, images: BuiltImages): string | undefined {
  for (const rule of rules.filter(({ types }) => types.includes(registration.type))) {
    const found = rule.check(registration, images);
    if (found !== undefined) return describe(registration, found);
  }
  return undefined;
}

export const describe = ({ type, name }: Registration, found: string): string =>
  `${type.split(":").at(-1) ?? type} "${name}" ${found}.`;

export interface Image {
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: string;
}

/** Splits `registry:5000/team/shop:1.2@sha256:…` into its parts. */
export function parseImage(reference: string): Image {
  const [named = "", digest] = reference.split("@");
  const colon = named.lastIndexOf(":");
  const tagged = colon > named.lastIndexOf("/");
  return {
    repository: tagged ? named.slice(0, colon) : named,
    ...(tagged ? { tag: named.slice(colon + 1) } : {}),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** An image without a tag or digest is also `:latest`, unless it is an ID. */
function isLatest(reference: string): boolean {
  if (/^(sha256:)?[0-9a-f]{64}$/.test(reference)) return false;
  const { tag = "latest", digest } = parseImage(reference);
  return digest === undefined && tag === "latest";
}

/** The base image of a build. */
function baseOf(build: unknown): unknown {
  const args = isMapping(build) ? build["args"] : undefined;
  return isMapping(args) ? args["BASE"] : undefined;
}

/** Labels that enable a health check: by Consul, by the load balancer, or by the image itself. */
const isCheckLabel = (label: string): boolean =>
  /^SERVICE_(\d+_)?(CHECK_(HTTP|HTTPS|SCRIPT|TTL|TCP|GRPC)|HEALTH_PATH)$/.test(label) ||
  label === "switchyard.healthcheck";

/** The labels of a container (a list) or a service (a mapping). */
function labelsOf(labels: unknown): ReadonlyMap<string, unknown> {
  if (Array.isArray(labels))
    return new Map(labels.filter(isMapping).map(({ label, value }) => [String(label), value]));
  return new Map(isMapping(labels) ? Object.entries(labels) : []);
}

const pathsIn = (list: unknown, key: string): string[] =>
  fields(list).flatMap(({ [key]: path }) => (typeof path === "string" ? [path] : []));

/** Whether the path is the socket or a folder that contains it. */
function holdsSocket(hostPath: string): boolean {
  const path = hostPath.replace(/\/+/g, "/").replace(/(.)\/$/, "$1");
  return path.endsWith("docker.sock") || ["/", "/run", "/var", "/var/run"].includes(path);
}

function given(check: unknown): boolean {
  if (!isMapping(check)) return false;
  const test = check["test"] ?? check["tests"];
  return !(Array.isArray(test) && test[0] === "NONE");
}
