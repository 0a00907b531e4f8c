import { homedir, networkInterfaces } from "node:os";
import { join } from "node:path";

import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";

import { portKeys, type Config } from "../config/index";
import { ConfigError, list, mapping, onlyKeys, text } from "../config/value";
import { DockerEngine } from "../../providers/engine";
import { FreePorts } from "../../providers/free-ports";
import type { Nodes } from "./index";
import type { DockerNode } from "./node";

/** A machine that the user already has. */
export interface HostConfig {
  readonly name: string;
  readonly address: string;
  readonly publicAddress: string;
  /** URL of its Docker Engine. */
  readonly docker: string;
  readonly platform: string;
}

/** Target `hosts`: the machines of the list of that name. */
export function createNodes(config: Config): Nodes {
  const sshOpts = config.sshKey === undefined ? undefined : ["-i", config.sshKey, "-o", "IdentitiesOnly=yes"];
  const ports = portKeys(config.ports);
  const [first, ...others] = parseHosts(config.hosts).map(
    (host) => new HostNode(host.name, { ...host, ports, ...(sshOpts && { sshOpts }) }),
  );
  if (first === undefined) {
    throw new ConfigError("hosts", "is empty", "list the machines, as Pulumi.hosts.yaml does");
  }
  return [first, ...others];
}

const hostName = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** Of a name or an IPv4 or IPv6 address; never an option of a command. */
const address = /^[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}$/;
const dockerUrl =
  /^(?:unix:\/\/\/[\w./-]+|(?:tcp|ssh):\/\/(?:[a-z_][\w.-]*@)?(?:[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?)$/;

/**
 * The list `hosts`, with defaults filled in.
 *
 * @throws ConfigError naming the entry and its key
 */
export function parseHosts(value: unknown): HostConfig[] {
  const hosts = list(value, "hosts").map((item, index) => {
    const key = `hosts[${index}]`;
    const entry = mapping(item, key);
    onlyKeys(entry, key, ["name", "address", "docker", "publicAddress", "platform"]);
    const read = (name: string, pattern: RegExp, form: string) =>
      text(entry[name], `${key}.${name}`, pattern, form);
    const own = read("address", address, 'the address that the other nodes reach it by, such as "10.0.0.7"');
    return {
      name: read("name", hostName, "lower-case letters, digits and dashes, at most 63"),
      address: own,
      docker: read("docker", dockerUrl, '"ssh://user@host", "tcp://host:2376" or "unix:///path"'),
      publicAddress:
        entry["publicAddress"] === undefined ? own : read("publicAddress", address, "an address or a name"),
      platform:
        entry["platform"] === undefined
          ? "linux/amd64"
          : read("platform", /^linux\/[a-z0-9]+(?:\/v\d)?$/, '"linux/amd64" or "linux/arm64"'),
    };
  });
  for (const key of ["name", "address", "docker"] as const) {
    const owner = new Map<string, number>();
    hosts.forEach((host, index) => {
      const other = owner.get(host[key]);
      if (other !== undefined) {
        throw new ConfigError(
          `hosts[${index}].${key}`,
          `is ${host[key]}, which hosts[${other}] has too`,
          "each machine has its own",
        );
      }
      owner.set(host[key], index);
    });
  }
  return hosts;
}

export interface HostNodeArgs extends HostConfig {
  /** Options of `ssh`. Default: the user's own configuration. */
  readonly sshOpts?: readonly string[];
  /** The ports that its containers take in the host's network, by configuration key; they must be free at first. */
  readonly ports: Readonly<Record<string, number>>;
}

/** A machine that the user already has, with a Docker Engine that can be reached from here. */
export class HostNode extends pulumi.ComponentResource implements DockerNode {
  readonly name: string;
  readonly address: pulumi.Output<string>;
  readonly publicAddress: pulumi.Output<string>;
  readonly host: pulumi.Output<string>;
  readonly sshOpts?: pulumi.Output<readonly string[]>;
  readonly bridgeAddress: pulumi.Output<string>;
  readonly platform: string;
  readonly provider: docker.Provider;

  constructor(name: string, args: HostNodeArgs, opts?: pulumi.ComponentResourceOptions) {
    super("switchyard:index:HostNode", name, {}, opts);
    const { sshOpts } = args;
    const reach = { host: args.docker, ...(sshOpts && { sshOpts }) };
    const engine = new DockerEngine(name, reach, { parent: this });
    const ports = new FreePorts(
      name,
      {
        ...reach,
        host: engine.host,
        ports: args.ports,
        addresses: addressesToTry(args, engine.bridgeAddress),
      },
      { parent: this },
    );
    this.name = name;
    // Whatever is made on the node waits for its ports.
    this.host = pulumi.all([engine.host, ports.id]).apply(([host]) => host);
    if (sshOpts) this.sshOpts = pulumi.output(sshOpts);
    this.bridgeAddress = engine.bridgeAddress;
    this.address = pulumi.output(args.address);
    this.publicAddress = pulumi.output(args.publicAddress);
    this.platform = args.platform;
    this.provider = new docker.Provider(
      name,
      { host: this.host, ...(sshOpts && { sshOpts: [...sshOpts] }), ...certificates(args.docker) },
      { parent: this },
    );
    this.registerOutputs({ address: this.address, publicAddress: this.publicAddress });
  }
}

/**
 * The addresses on which its ports must be free. By ssh the machine itself is asked. Without, the ports are tried from
 * here, where its loopback and bridge are only those of this machine if this machine has its address.
 */
function addressesToTry(
  { docker, address }: HostConfig,
  bridge: pulumi.Output<string>,
): pulumi.Input<string>[] {
  const here = Object.values(networkInterfaces()).some((all) => all?.some((own) => own.address === address));
  return docker.startsWith("ssh://") || here ? [address, "127.0.0.1", bridge] : [address];
}

/** TLS to port 2376, as `docker` itself has it, with the certificates where it looks for them. */
function certificates(url: string): { certPath?: string } {
  if (!url.startsWith("tcp://")) return {};
  const { DOCKER_CERT_PATH: folder, DOCKER_TLS_VERIFY: verify } = process.env;
  const isTls = verify === "1" || /:2376$|^tcp:\/\/[^:]*$/.test(url);
  return isTls ? { certPath: folder ?? join(homedir(), ".docker") } : {};
}
