import * as pulumi from "@pulumi/pulumi";

import { ConfigError, imagePattern, list, mapping, onlyKeys, text, whole } from "./value";
import { targets, type Target } from "../nodes/targets";
import { parseService, type ServiceConfig } from "./services";

/** The stack's configuration: validated, with every default filled in. */
export interface Config {
  /** Where the nodes come from. */
  readonly target: Target;
  /** Number of nodes, for targets that make them. */
  readonly nodes: number;
  /** Docker Engine of target `local`. */
  readonly dockerHost: string;
  /** Machines of target `hosts`, which reads them. */
  readonly hosts: unknown;
  /** Settings of the machines that a target makes, which reads them. */
  readonly machine: unknown;
  /** Networks from which machines in the open may be administered; their target reads them. */
  readonly adminCidrs: unknown;
  /** Private key for ssh to the nodes: a file. */
  readonly sshKey?: string;
  readonly services: readonly ServiceConfig[];
  readonly statsUser: string;
  readonly statsPassword: pulumi.Output<string>;
  readonly ports: Ports;
  /** HTTPS, where there are certificates. */
  readonly https?: Https;
  /** Base of the images that we build. */
  readonly baseImage: string;
  /** Base of the Consul image. */
  readonly consulImage: string;
  /** Registrator to run in place of ours. */
  readonly registratorImage?: string;
  /** Where our images are pushed to and pulled from; otherwise every node builds them. */
  readonly registry?: string;
}

/** The ports that the infrastructure takes on every node. */
export interface Ports {
  /** Traffic. */
  readonly http: number;
  /** Statistics page, behind user and password. */
  readonly stats: number;
  /** `/ready`, `/routes`, `/metrics`; on the node itself only. */
  readonly admin: number;
  /** Consul's HTTP API; on the node and its Docker bridge only. */
  readonly consul: number;
  /** Consul's DNS; on the Docker bridge only. */
  readonly dns: number;
  /** HTTPS, where there are certificates. */
  readonly https?: number;
}

export interface Https {
  /** Folder on each node with a `NAME.pem` (certificate, chain, key) for each site. */
  readonly certificates: string;
  /** Whether HTTP only leads to HTTPS. */
  readonly redirect: boolean;
}

/** Every key that is read below; a test holds them against Pulumi.yaml. */
export const configKeys = [
  "target",
  "nodes",
  "dockerHost",
  "hosts",
  "machine",
  "adminCidrs",
  "sshKey",
  "services",
  "statsUser",
  "statsPassword",
  "httpPort",
  "certificates",
  "httpsPort",
  "redirectHttps",
  "statsPort",
  "adminPort",
  "consulPort",
  "dnsPort",
  "baseImage",
  "consulImage",
  "registry",
  "registratorImage",
] as const;

/**
 * Reads and validates the stack's configuration; nothing else reads `pulumi.Config`.
 * Types and defaults are those of `Pulumi.yaml`.
 *
 * @throws ConfigError naming the key and the command or edit that cures it.
 */
export function loadConfig(): Config {
  const config = new pulumi.Config();
  refuseUnknownKeys(config.name);
  const image = (key: string) =>
    text(config.require(key), key, imagePattern, 'an image reference such as "debian:13.1-slim"');
  const registratorImage = config.get("registratorImage");
  const registry = config.get("registry");
  const sshKey = config.get("sshKey");
  const ports = parsePorts(config);
  const https = parseHttps(config);
  return {
    target: parseTarget(config.require("target")),
    nodes: whole(config.requireNumber("nodes"), "nodes", 1, 100),
    dockerHost: text(
      config.require("dockerHost"),
      "dockerHost",
      /^(unix:\/\/\/|tcp:\/\/|ssh:\/\/)[\w.@:/[\]-]+$/,
      '"unix:///path", "tcp://host:port" or "ssh://user@host"',
    ),
    hosts: config.requireObject("hosts"),
    machine: config.requireObject("machine"),
    adminCidrs: config.requireObject("adminCidrs"),
    ...(sshKey && { sshKey: text(sshKey, "sshKey", filePattern, 'a path such as "~/.ssh/id_ed25519"') }),
    services: parseServices(config.requireObject("services")),
    statsUser: text(
      config.require("statsUser"),
      "statsUser",
      /^[A-Za-z0-9._-]{1,64}$/,
      "1 to 64 letters, digits, dots, dashes or underscores",
    ),
    statsPassword: requirePassword(config),
    ports,
    ...(https && { https }),
    baseImage: image("baseImage"),
    consulImage: image("consulImage"),
    ...(registry ? { registry: text(registry, "registry", registryPattern, registryForm) } : {}),
    ...(registratorImage ? { registratorImage: image("registratorImage") } : {}),
  };
}

/** A path to a file; never an option of a command. */
const filePattern = /^[A-Za-z0-9~./_][A-Za-z0-9~./_ -]*$/;

/** With a host that Docker takes for one, which a path may follow. */
const registryPattern =
  /^(?:localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+|[a-z0-9.-]+(?=:))(?::\d{1,5})?(?:\/[a-z0-9]+(?:[._-][a-z0-9]+)*)*$/;
const registryForm = 'a host, which a path may follow, such as "ghcr.io/acme" or "10.0.0.5:5000"';

/** A misspelt key must not be ignored, as the Pulumi CLI would. */
function refuseUnknownKeys(namespace: string): void {
  const prefix = `${namespace}:`;
  const keys = Object.keys(pulumi.runtime.allConfig()).filter((key) => key.startsWith(prefix));
  onlyKeys(Object.fromEntries(keys.map((key) => [key.slice(prefix.length), true])), "", configKeys);
}

function parseTarget(value: string): Target {
  const target = targets.find((known) => known === value);
  if (target === undefined) {
    throw new ConfigError(
      "target",
      `is ${JSON.stringify(value)}`,
      `choose one of ${targets.join(", ")}: pulumi config set target ${targets[0]}`,
    );
  }
  return target;
}

function requirePassword(config: pulumi.Config): pulumi.Output<string> {
  const password = config.getSecret("statsPassword");
  if (password === undefined) {
    throw new ConfigError(
      "statsPassword",
      "is not set",
      "script/up generates one, or: pulumi config set --secret statsPassword",
    );
  }
  return password.apply(checkPassword);
}

/** The password as it is, if it is strong enough and fits on a line; it is never repeated in the error. */
export function checkPassword(value: string): string {
  const form = "12 to 128 printable ASCII characters without spaces";
  return text(value, "statsPassword", /^[\x21-\x7e]{12,128}$/, form, { secret: true });
}

/** The ports by the configuration keys that choose them: `{ httpPort: 80 }`. */
export function portKeys(ports: Ports): Record<string, number> {
  return Object.fromEntries(
    Object.entries(ports).map(([name, port]: [string, number]) => [`${name}Port`, port]),
  );
}

function parsePorts(config: pulumi.Config): Ports {
  const owner = new Map<number, string>();
  const port = (key: string): number => {
    const value = whole(config.requireNumber(key), key, 1, 65535);
    const other = owner.get(value);
    if (other !== undefined) {
      throw new ConfigError(key, `is ${value}, which ${other} has too`, "give each its own port");
    }
    owner.set(value, key);
    return value;
  };
  return {
    http: port("httpPort"),
    stats: port("statsPort"),
    admin: port("adminPort"),
    consul: port("consulPort"),
    dns: port("dnsPort"),
    ...(config.get("certificates") && { https: port("httpsPort") }),
  };
}

function parseHttps(config: pulumi.Config): Https | undefined {
  const certificates = config.get("certificates");
  const redirect = config.requireBoolean("redirectHttps");
  if (!certificates) {
    if (!redirect) return undefined;
    throw new ConfigError(
      "redirectHttps",
      "is true, but there is no HTTPS",
      "set certificates, or set it to false",
    );
  }
  const form = 'an absolute path such as "/etc/switchyard/certificates"';
  return {
    certificates: text(certificates, "certificates", /^(\/[A-Za-z0-9._-]+)+$/, form),
    redirect,
  };
}

function parseServices(value: unknown): ServiceConfig[] {
  const services = list(value, "services").map((entry, index) => {
    const key = `services[${index}]`;
    return parseService(mapping(entry, key), key);
  });
  const byName = new Map<string, string>();
  for (const [index, { name, swarmName }] of services.entries()) {
    const other = byName.get(swarmName);
    if (other !== undefined) {
      throw new ConfigError(
        `services[${index}].name`,
        other === name
          ? `is ${name}, which another service has too`
          : `is ${name}, which Docker would call ${swarmName}, as it would ${other}`,
        "rename one of the two",
      );
    }
    byName.set(swarmName, name);
  }
  return services;
}
