/** The stack's configuration. Nothing else reads `pulumi.Config`. */
import * as pulumi from "@pulumi/pulumi";
import { z } from "zod";

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
import { services } from "./services";

/** With a host that Docker takes for one, and maybe a path behind it. */
const registryPattern =
  /^(?:localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+|[a-z0-9.-]+(?=:))(?::\d{1,5})?(?:\/[a-z0-9]+(?:[._-][a-z0-9]+)*)*$/;

const imageForm = 'an image reference such as "debian:13.1-slim"';
const image = text(imagePattern, imageForm);
const port = (number: number) => whole(1, 65535).default(number);

/** Every key, in the order of `Pulumi.yaml`, which a test compares with this: type, default and description. */
export const configKeys = {
  target: z
    .enum(targetNames, {
      error: () => `choose one of ${targetNames.join(", ")}: pulumi config set target ${targetNames[0]}`,
    })
    .default("local")
    .describe(
      "Where the nodes come from: local (the Docker Engine at hand), hosts (machines you have), virtualbox, aws or gce",
    ),
  nodes: whole(1, 100).default(1).describe("Number of nodes, for targets that create machines"),
  dockerHost: text(
    /^(unix:\/\/\/|tcp:\/\/|ssh:\/\/)[\w.@:/[\]-]+$/,
    '"unix:///path", "tcp://host:port" or "ssh://user@host"',
  )
    .default("unix:///var/run/docker.sock")
    .describe("Docker Engine of target local: unix:///path, tcp://host:port or ssh://user@host"),
  // The next three are the target's to read.
  hosts: list(anyMapping)
    .default([])
    .describe("Machines of target hosts; docs/targets.md lists the keys of each"),
  machine: anyMapping
    .default({})
    .describe(
      "Size and kind of the machines that targets virtualbox, aws and gce create; see docs/targets.md",
    ),
  adminCidrs: list(text(/^/, 'a network such as "203.0.113.7/32"'))
    .default([])
    .describe(
      "Networks that may reach ssh and the statistics page of machines on aws and gce: 203.0.113.7/32",
    ),
  sshKey: optionalText(/^[A-Za-z0-9~./_][A-Za-z0-9~./_ -]*$/, 'a path such as "~/.ssh/id_ed25519"').describe(
    "File of the private key for ssh to the nodes; default: one that the stack creates, or on hosts your own ssh configuration",
  ),
  services: list(anyMapping)
    .default([])
    .transform((entries): unknown => entries)
    .pipe(services)
    .describe("Services to run; docs/services.md lists the keys of each"),
  statsUser: text(/^[A-Za-z0-9._-]{1,64}$/, "1 to 64 letters, digits, dots, dashes or underscores")
    .default("admin")
    .describe("User of the statistics page"),
  statsPassword: text(/^[\x21-\x7e]{12,128}$/, "12 to 128 printable ASCII characters without spaces").meta({
    description: "Password of the statistics page; no default: script/up generates one for the stack",
    secret: true,
  }),
  httpPort: port(80).describe("Port on which the load balancer takes traffic"),
  certificates: optionalText(
    /^(\/[A-Za-z0-9._-]+)+$/,
    'an absolute path such as "/etc/switchyard/certificates"',
  ).describe("Folder on each node with a NAME.pem (certificate, chain, key) for each site; enables HTTPS"),
  httpsPort: port(443).describe("Port for HTTPS, if there are certificates"),
  redirectHttps: flag().default(false).describe("Whether HTTP only redirects to HTTPS"),
  statsPort: port(1936).describe("Port of the statistics page"),
  adminPort: port(8404).describe(
    "Port of the load balancer's /ready, /routes and /metrics, on the node itself only",
  ),
  consulPort: port(8500).describe(
    "Port of Consul's HTTP API and page, on the node and its Docker bridge only",
  ),
  dnsPort: port(53).describe(
    "Port on which Consul answers DNS on the Docker bridge; containers only ask port 53",
  ),
  baseImage: image
    .default("debian:13.1-slim")
    .describe("Base of the load balancer, Registrator and build images"),
  consulImage: image.default("hashicorp/consul:1.21.4").describe("Base of the Consul image"),
  registry: optionalText(
    registryPattern,
    'a host, which a path may follow, such as "ghcr.io/acme" or "10.0.0.5:5000"',
  ).describe(
    "Registry to push our images to, such as ghcr.io/acme; they are built once, and every node pulls them by digest",
  ),
  registratorImage: optionalText(imagePattern, imageForm).describe(
    "Registrator to run instead of ours, for example gliderlabs/registrator:v7",
  ),
};

// The password stays inside an output.
const { statsPassword: password, ...open } = configKeys;

const settings = mapping(open, Object.keys(configKeys))
  .check(({ value, issues }) => {
    const owner = new Map<number, string>();
    for (const [key, number] of portsIn(value)) {
      const other = owner.get(number);
      if (other !== undefined)
        issues.push(mistake([key], `is ${number}, which ${other} has too`, "give each its own port"));
      owner.set(number, key);
    }
    if (value.redirectHttps && value.certificates === undefined) {
      const cure = "set certificates, or set it to false";
      issues.push(mistake(["redirectHttps"], "is true, but there is no HTTPS", cure));
    }
  })
  .transform(({ httpPort, httpsPort, statsPort, adminPort, consulPort, dnsPort, ...rest }) => {
    const { certificates, redirectHttps, ...others } = rest;
    const ports: Ports = {
      http: httpPort,
      stats: statsPort,
      admin: adminPort,
      consul: consulPort,
      dns: dnsPort,
      ...(certificates !== undefined && { https: httpsPort }),
    };
    return {
      ...others,
      ports,
      /** HTTPS, if there are certificates: their folder on each node, and whether HTTP only redirects. */
      https: certificates === undefined ? undefined : { certificates, redirect: redirectHttps },
    };
  })
  .readonly();

/** Those that must differ; 443 is nobody's without certificates. */
function portsIn(value: Readonly<Record<string, unknown>>): [string, number][] {
  const keys = ["httpPort", "statsPort", "adminPort", "consulPort", "dnsPort", "httpsPort"];
  const taken = value["certificates"] === undefined ? keys.slice(0, -1) : keys;
  return taken.map((key) => [key, Number(value[key])]);
}

/** The configuration, checked, with every default filled in. */
export type Config = z.output<typeof settings> & { readonly statsPassword: pulumi.Output<string> };

export type Https = NonNullable<Config["https"]>;

/**
 * Reads and checks the stack's configuration.
 *
 * @throws UserError naming the key and the command or edit that cures it
 */
export function loadConfig(): Config {
  const config = new pulumi.Config();
  const prefix = `${config.name}:`;
  const keys = Object.keys(pulumi.runtime.allConfig())
    .filter((key) => key.startsWith(prefix))
    .map((key) => key.slice(prefix.length))
    .filter((key) => key !== "statsPassword");
  const values = Object.fromEntries(keys.map((key) => [key, read(config, key)]));
  const isSecret = (key: string): boolean => runtime.isConfigSecret(prefix + key);
  const statsPassword = config.getSecret("statsPassword")?.apply(checkPassword);
  const rest = parse(settings, values, "", isSecret);
  if (statsPassword === undefined) {
    const cure = "script/up generates one, or: pulumi config set --secret statsPassword …";
    throw configError("statsPassword", "is not set", cure);
  }
  return { ...rest, statsPassword };
}

/** Its types leave this one out. */
const runtime = pulumi.runtime as unknown as {
  /** Whether a key is a secret, or has one anywhere inside. */
  readonly isConfigSecret: (key: string) => boolean;
};

/** The value of a key. Engines pass every value as text: JSON, unless the schema asks for a text. */
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

/** The password as it is, if it is strong enough and fits on a line; an error never repeats it. */
export function checkPassword(value: string): string {
  return parse(password, value, "statsPassword", () => true);
}
