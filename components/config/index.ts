/** The stack's configuration. Nothing else reads `pulumi.Config`. */
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";

import { parseNetwork } from "../../routing/grammar";
import { adminCidr } from "../nodes/admin-cidrs";
import { targetNames } from "../nodes/targets";
import type { Ports } from "../ports";
import {
  anyMapping,
  configError,
  flag,
  imagePattern,
  list,
  mapping,
  mistake,
  optionalText,
  parse,
  text,
  whole,
} from "../schema";
import { stackOwner } from "../../providers/owner";
import { withoutSleep } from "../../routing/scaling/replicas";
import { dumpSocket, jobOf, passwordSecret } from "./backups";
import { stackConfigs, stackSecrets } from "./files";
import { registryLogins } from "./registries";
import { encryptWith, refuseShownSecrets, requireEncrypted } from "./secrets";
import { hasAutomatic, parseService, services, type ServiceConfig } from "./services";

/** A host in a form that Docker recognises as one, then an optional path. */
const registryPattern =
  /^(?:localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+|[a-z0-9.-]+(?=:))(?::\d{1,5})?(?:\/[a-z0-9]+(?:[._-][a-z0-9]+)*)*$/;

const imageForm = 'an image reference such as "debian:13.1-slim"';
const image = text(imagePattern, imageForm);
const port = (number: number) => whole(1, 65535).default(number);
const networkForm = { error: 'it must be an address or a network such as "10.0.0.0/8"' };
const network = z.string(networkForm).refine((value) => parseNetwork(value).ok, networkForm);

/** Every key with its type, default and description, in the order of `Pulumi.yaml`. A test compares the two. */
export const configKeys = {
  target: z
    .enum(targetNames, {
      error: () => `choose one of ${targetNames.join(", ")}: pulumi config set target ${targetNames[0]}`,
    })
    .default("local")
    .describe(
      "Where the nodes come from: local (this machine's Docker Engine), hosts (machines you have), virtualbox, aws or gce",
    ),
  nodes: whole(1, 100).default(1).describe("Number of nodes, for targets that create machines"),
  dockerHost: text(
    /^(unix:\/\/\/|tcp:\/\/|ssh:\/\/)[\w.@:/[\]-]+$/,
    '"unix:///path", "tcp://host:port" or "ssh://user@host"',
  )
    .default("unix:///var/run/docker.sock")
    .describe("Docker Engine of target local: unix:///path, tcp://host:port or ssh://user@host"),
  // The target validates the next two.
  hosts: list(anyMapping)
    .default([])
    .describe("Machines of target hosts; docs/targets.md lists the keys of each"),
  machine: anyMapping
    .default({})
    .describe(
      "Size and type of the machines that targets virtualbox, aws and gce create; see docs/targets.md",
    ),
  adminCidrs: list(adminCidr)
    .default([])
    .describe(
      "Networks that may reach the statistics page, and SSH on aws and gce, such as 203.0.113.7/32; nodes always may",
    ),
  firewall: flag()
    .default(true)
    .describe(
      "Whether each node has a firewall, which keeps the ports of instances, Consul and Swarm to the nodes, and the statistics page to adminCidrs",
    ),
  sshKey: optionalText(/^[A-Za-z0-9~./_][A-Za-z0-9~./_ -]*$/, 'a path such as "~/.ssh/id_ed25519"').describe(
    "Private key file for SSH to the nodes; default: a key that the stack creates, or your own SSH configuration on target hosts",
  ),
  services: list(anyMapping)
    .default([])
    .transform((entries): unknown => entries)
    .pipe(services)
    .describe("Services to run; docs/services.md lists the keys of each"),
  secrets: stackSecrets
    .default({})
    .describe("Secrets by name, encrypted, which services mount as files; see docs/services.md"),
  configs: stackConfigs
    .default({})
    .describe(
      "Files by name, each with file (a path) or content, which services mount; see docs/services.md",
    ),
  registries: registryLogins
    .default({})
    .describe(
      "Logins for private images by registry, each with username and an encrypted password; default: those of docker login",
    ),
  statsUser: text(/^[A-Za-z0-9._-]{1,64}$/, "1 to 64 letters, digits, dots, dashes or underscores")
    .default("admin")
    .describe("User of the statistics page"),
  statsPassword: text(/^[\x21-\x7e]{12,128}$/, "12 to 128 printable ASCII characters without spaces").meta({
    description: "Password of the statistics page; no default: script/up generates one for the stack",
    secret: true,
  }),
  httpPort: port(80).describe("Port on which the load balancer accepts HTTP traffic"),
  certificates: optionalText(
    /^(\/[A-Za-z0-9._-]+)+$/,
    'an absolute path such as "/etc/switchyard/certificates"',
  ).describe("Folder on each node with one NAME.pem (certificate, chain, key) per site; enables HTTPS"),
  certificateAuthorities: optionalText(
    /^(\/[A-Za-z0-9._-]+)+$/,
    'an absolute path such as "/etc/switchyard/authorities"',
  ).describe(
    "Folder on each node with NAME.pem files of authorities that sign the certificates of your services; see tls_ca in docs/routing.md",
  ),
  httpsPort: port(443).describe("Port for HTTPS, used if certificates is set"),
  redirectHttps: flag().default(false).describe("Whether to redirect all HTTP requests to HTTPS"),
  trustedProxies: list(network)
    .default([])
    .describe(
      "Networks of proxies and balancers in front of this one, whose X-Forwarded-* and X-Request-ID headers are kept, such as 10.0.0.0/8",
    ),
  proxyProtocol: flag()
    .default(false)
    .describe("Whether the trustedProxies begin each HTTP and HTTPS connection with the PROXY protocol"),
  statsPort: port(1936).describe("Port of the statistics page"),
  adminPort: port(8404).describe(
    "Port of the load balancer's /ready, /routes and /metrics, on the node itself only",
  ),
  consulPort: port(8500).describe(
    "Port of Consul's HTTP API and web UI, on the node and its Docker bridge only",
  ),
  dnsPort: port(53).describe("Port of Consul's DNS on the Docker bridge; containers can only use port 53"),
  baseImage: image
    .default("debian:13.1-slim@sha256:a347fd7510ee31a84387619a492ad6c8eb0af2f2682b916ff3e643eb076f925a")
    .describe(
      "Base image of the load balancer, Registrator and images built from templates/, pinned by digest",
    ),
  consulImage: image.default("hashicorp/consul:1.21.4").describe("Base image of the Consul image"),
  registry: optionalText(
    registryPattern,
    'a host with an optional path, such as "ghcr.io/acme" or "10.0.0.5:5000"',
  ).describe(
    "Registry to push Switchyard's images to, such as ghcr.io/acme; they are built once, and every node pulls them by digest",
  ),
  consulTokenGeneration: whole(1, 1_000_000)
    .default(1)
    .describe(
      "Generation of Consul's tokens: raise it by one to replace all of them, without a failed request",
    ),
  autoscaler: z
    .enum(["", "true", "false", "dry"], { error: "it must be true, false or dry" })
    .default("")
    .describe(
      "Whether the autoscaler runs: true, false, or dry to see only what it would do; default: true if a service has a range of replicas or an automatic limit. Jobs run in any case",
    ),
  autoscalerPort: port(8405).describe(
    "Port of the autoscaler's /status and /metrics, on the node itself only",
  ),
  registratorImage: optionalText(imagePattern, imageForm).describe(
    "Registrator image to run instead of Switchyard's own, such as gliderlabs/registrator:v7",
  ),
};

// The password stays inside an output.
const { statsPassword: password, ...open } = configKeys;

/** A service with another mistake has no source yet. */
const secretsOfBuild = (source?: ServiceConfig["source"]): readonly string[] =>
  source !== undefined && "build" in source && typeof source.build === "object" ? source.build.secrets : [];

const settings = mapping(open, Object.keys(configKeys))
  .check(({ value, issues }) => {
    const owner = new Map<number, string>();
    for (const [key, number] of portsIn(value)) {
      const other = owner.get(number);
      if (other !== undefined)
        issues.push(mistake([key], `is ${number}, the same as ${other}`, "give each its own port"));
      owner.set(number, key);
    }
    if (value.redirectHttps && value.certificates === undefined) {
      const cure = "set certificates, or set redirectHttps to false";
      issues.push(mistake(["redirectHttps"], "is true, but HTTPS is not enabled", cure));
    }
    const named = value.services.findIndex(({ meta }) => meta["tls_ca"] !== undefined);
    if (named >= 0 && value.certificateAuthorities === undefined) {
      const key = ["services", named, "meta", "tls_ca"];
      issues.push(mistake(key, "names a file, but there is no folder", "set certificateAuthorities"));
    }
    for (const [index, service] of value.services.entries())
      for (const kind of ["secrets", "configs"] as const) {
        const at = service[kind].findIndex(({ source }) => !Object.hasOwn(value[kind], source));
        if (at < 0) continue;
        const name = service[kind][at]?.source ?? "";
        const cure = kind === "secrets" ? encryptWith(name) : `set configs.${name}.file`;
        const problem = `is ${name}, which the stack's ${kind} do not have`;
        issues.push(mistake(["services", index, kind, at], problem, cure));
      }
    for (const [index, { source }] of value.services.entries()) {
      const at = secretsOfBuild(source).findIndex((name) => !Object.hasOwn(value.secrets, name));
      if (at < 0) continue;
      const name = secretsOfBuild(source)[at] ?? "";
      const problem = `is ${name}, which the stack's secrets do not have`;
      issues.push(mistake(["services", index, "build", "secrets", at], problem, encryptWith(name)));
    }
    for (const [index, { backup }] of value.services.entries()) {
      if (backup === undefined || Object.hasOwn(value.secrets, passwordSecret)) continue;
      const problem = `needs the secret ${passwordSecret}, with which backups are encrypted`;
      issues.push(mistake(["services", index, "backup"], problem, encryptWith(passwordSecret)));
    }
    const isHere = value.target === "local" && value.dockerHost.startsWith("unix://");
    for (const [index, { volumes: mounted }] of value.services.entries()) {
      const at = mounted.findIndex(({ type, source = "/" }) => type === "bind" && !source.startsWith("/"));
      if (isHere || at < 0) continue;
      const problem = `is ${mounted[at]?.source ?? ""}, a path on this machine, which the nodes do not have`;
      issues.push(mistake(["services", index, "volumes", at], problem, "use an absolute path of the nodes"));
    }
    if (value.proxyProtocol && value.trustedProxies.length === 0) {
      const problem = "is true, but nobody may use the PROXY protocol";
      issues.push(mistake(["proxyProtocol"], problem, "list the networks of your proxies in trustedProxies"));
    }
  })
  .transform(
    ({ httpPort, httpsPort, statsPort, adminPort, consulPort, dnsPort, autoscalerPort, ...rest }) => {
      const { certificates, redirectHttps, ...others } = rest;
      const services = withBackups(rest);
      const autoscaler = autoscalerOf({ ...rest, services });
      const ports: Ports = {
        http: httpPort,
        stats: statsPort,
        admin: adminPort,
        consul: consulPort,
        dns: dnsPort,
        ...((autoscaler !== "off" || hasJobs(services)) && { autoscaler: autoscalerPort }),
        ...(certificates !== undefined && { https: httpsPort }),
      };
      return {
        ...others,
        services: autoscaler === "on" ? services : services.map(kept),
        autoscaler,
        /** Whether there are jobs, which the autoscaler starts even if it scales nothing. */
        hasJobs: hasJobs(services),
        /** Whether the autoscaler chooses limits. */
        choosesLimits: autoscaler === "on" && services.some(({ limits }) => hasAutomatic(limits)),
        ports,
        /** Only with certificates: their folder on each node, and whether HTTP redirects to HTTPS. */
        https: certificates === undefined ? undefined : { certificates, redirect: redirectHttps },
      };
    },
  )
  .readonly();

/** The services, and the jobs that make their backups. */
function withBackups({ services, secrets }: Pick<Config, "services" | "secrets">): ServiceConfig[] {
  const jobs = services.flatMap((each): ServiceConfig[] => {
    const job = jobOf(each, Object.keys(secrets), stackOwner());
    const socket = each.backup?.dump && { socket: dumpSocket };
    return job === undefined ? [] : [{ ...parseService(job, `backup of ${each.name}`), ...socket }];
  });
  return [...services, ...jobs];
}

interface Scaled {
  readonly autoscaler: "" | "true" | "false" | "dry";
  readonly services: readonly ServiceConfig[];
}

function autoscalerOf({ autoscaler, services }: Scaled): "on" | "off" | "dry" {
  if (autoscaler === "dry") return "dry";
  const isNeeded = services.some(
    ({ replicas, limits }) => typeof replicas === "object" || hasAutomatic(limits),
  );
  return (autoscaler || String(isNeeded)) === "true" ? "on" : "off";
}

const hasJobs = (services: Scaled["services"]): boolean =>
  services.some(({ schedule, backup }) => schedule !== undefined || backup !== undefined);

/** A service of a stack in which nothing would wake it. */
const kept = <T extends Pick<ServiceConfig, "replicas">>(service: T): T =>
  typeof service.replicas === "number" ? service : { ...service, replicas: withoutSleep(service.replicas) };

/** The ports that must differ. `autoscalerPort` counts only with the autoscaler, `httpsPort` only with certificates. */
function portsIn(value: Scaled & Readonly<Record<string, unknown>>): [string, number][] {
  const keys = [
    ...["httpPort", "statsPort", "adminPort", "consulPort", "dnsPort"],
    ...(autoscalerOf(value) === "off" && !hasJobs(value.services) ? [] : ["autoscalerPort"]),
    ...(value["certificates"] === undefined ? [] : ["httpsPort"]),
  ];
  return keys.map((key) => [key, Number(value[key])]);
}

/** The validated configuration, with all defaults filled in. */
export type Config = Omit<z.output<typeof settings>, "services" | "statsUser"> & {
  readonly services: readonly ServiceConfig[];
  readonly statsUser: pulumi.Input<string>;
  readonly statsPassword: pulumi.Output<string>;
};

export type Https = NonNullable<Config["https"]>;

/**
 * Reads and validates the stack's configuration.
 *
 * @throws UserError that names the key and the command or edit that fixes it
 */
export function loadConfig(): Config {
  const config = new pulumi.Config();
  const prefix = `${config.name}:`;
  const keys = Object.keys(pulumi.runtime.allConfig())
    .filter((key) => key.startsWith(prefix))
    .map((key) => key.slice(prefix.length))
    .filter((key) => key !== "statsPassword");
  const values = Object.fromEntries(keys.map((key) => [key, read(config, key)]));
  const isSecret = (key: string): boolean =>
    ["secrets", "registries"].includes(key) || runtime.isConfigSecret(prefix + key);
  const statsPassword = config.getSecret("statsPassword")?.apply(checkPassword);
  const { services, statsUser, ...rest } = parse(settings, values, "", isSecret);
  if (statsPassword === undefined) {
    const cure = "script/up generates one, or: script/secret statsPassword";
    throw configError("statsPassword", "is not set", cure);
  }
  const stackFile = `Pulumi.${pulumi.getStack()}.yaml`;
  refuseShownSecrets(keys.filter(isSecret), config.name, stackFile);
  requireEncrypted(config.name, stackFile);
  return {
    ...rest,
    services: isSecret("services") ? services.map((service) => ({ ...service, hasSecrets: true })) : services,
    statsUser: isSecret("statsUser") ? pulumi.secret(statsUser) : statsUser,
    statsPassword,
  };
}

/** A function that Pulumi's type declarations omit. */
const runtime = pulumi.runtime as unknown as {
  /** Whether the key's value is a secret or contains one. */
  readonly isConfigSecret: (key: string) => boolean;
};

/** The value of a key. Engines pass every value as text, which is JSON unless the schema expects a string. */
function read(config: pulumi.Config, key: string): unknown {
  const value = config.get(key) ?? "";
  if (texts.has(key)) return value;
  try {
    return JSON.parse(value) as unknown;
  } catch {
    return value;
  }
}

const { properties = {} } = z.toJSONSchema(z.object(configKeys), { io: "input", unrepresentable: "any" });
const texts = new Set(
  Object.entries(properties).flatMap(([key, property]) =>
    typeof property === "object" && property.type === "string" ? [key] : [],
  ),
);

/** Returns the password if it is long enough and printable. Errors never show it. */
export function checkPassword(value: string): string {
  return parse(password, value, "statsPassword", () => true);
}
