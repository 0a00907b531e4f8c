/** What a backup is of, and where: from the configuration and the engine's state. Pure. */
import type { Config } from "../components/config";
import { ownVolumes, passwordSecret, secretNames } from "../components/config/backups";
import { isOfNode } from "../components/config/volumes";
import { nameOf } from "../components/volumes";
import { resourcesIn } from "../lib/engine-state";
import { UserError } from "../lib/errors";
import { isMapping, parseJson } from "../lib/values";

export interface Node {
  readonly name: string;
  readonly host: string;
  readonly sshOpts?: readonly string[];
}

/** What the stack has deployed, as far as backups need it. */
export interface Deployed {
  /** A manager of the Swarm. */
  readonly manager: Omit<Node, "name">;
  readonly nodes: readonly Node[];
  /** The name of the node of each volume. */
  readonly placed: Readonly<Record<string, string>>;
  /** `<project>/<stack>`. */
  readonly owner: string;
  /** The base image of the stack's images. */
  readonly base: string;
}

/**
 * Reads the state of either engine.
 *
 * @throws UserError if the stack has no volumes there
 */
export function readDeployed(state: string): Deployed {
  const all = resourcesIn(state);
  const propertiesOf = (type: RegExp) =>
    all
      .filter((each) => type.test(String(each["type"])))
      .map(({ inputs, outputs }) => ({
        ...(inputs as object | undefined),
        ...(outputs as object | undefined),
      }));
  type Properties = Partial<Omit<Deployed, "manager" | "base"> & Omit<Node, "name">>;
  const [volumes] = propertiesOf(/:NodeVolumes$/) as [Properties?];
  const images = propertiesOf(/^docker:.*:Image$/) as {
    imageName?: string;
    build?: { args?: { BASE?: string } };
  }[];
  const base = images.find(({ imageName = "" }) => imageName.includes("/haproxy:"))?.build?.args?.BASE;
  if (volumes?.nodes === undefined || volumes.placed === undefined || base === undefined)
    throw new UserError("The stack has no volumes yet: deploy it first, with script/up");
  const { host = "", sshOpts, nodes, placed, owner = "" } = volumes;
  return { manager: { host, ...(sshOpts && { sshOpts }) }, nodes, placed, owner, base };
}

/** A volume by its name in the configuration, and in Docker. */
export interface Volume {
  readonly name: string;
  readonly dockerName: string;
}

/** What to back up or restore: files of volumes, or what the commands of a service say. */
export interface Subject {
  readonly volumes: readonly Volume[];
  readonly node: Node;
  /** Of a service with a dump. */
  readonly dump?: { readonly swarmName: string; readonly load: readonly string[] | undefined };
  /** Where the service's own backups go. */
  readonly to?: string;
}

/** @throws UserError if there is nothing of that name to back up */
export function subjectOf(
  name: string,
  services: Config["services"],
  stack: string,
  { placed, nodes }: Deployed,
): Subject {
  const volume = (source: string): Volume => ({
    name: source,
    dockerName: nameOf({ type: "volume", source, target: "/", readOnly: false }, stack),
  });
  const ofNode = services.flatMap(({ volumes }) => volumes.filter(isOfNode).map(({ source = "" }) => source));
  const service = services.find((each) => each.name === name || each.swarmName === name);
  const dumped = services.find(({ backup, volumes }) => backup?.dump && ownVolumes(volumes).includes(name));
  if (service === undefined && dumped !== undefined)
    throw new UserError(
      `Volume ${name} is backed up by the dump of ${dumped.name}, because its files may not be copied while it runs: name ${dumped.name} instead`,
    );
  const sources = service === undefined ? ofNode.filter((each) => each === name).slice(0, 1) : ownVolumes(service.volumes); // prettier-ignore
  if (sources.length === 0) {
    const problem = service === undefined ? `There is no service or volume ${name}` : `${name} writes to no volume of a node`; // prettier-ignore
    throw new UserError(`${problem}: the stack's volumes are ${[...new Set(ofNode)].join(", ") || "none"}`);
  }
  const volumes = sources.map(volume);
  const at = volumes.map(({ dockerName }) => placed[dockerName])[0];
  const node = nodes.find((each) => each.name === at);
  if (node === undefined)
    throw new UserError(`Volume ${sources[0] ?? ""} is not deployed: deploy the stack first, with script/up`);
  const { to, dump, load } = service?.backup ?? {};
  return {
    volumes,
    node,
    ...(to !== undefined && { to }),
    ...(service && dump && { dump: { swarmName: service.swarmName, load } }),
  };
}

/**
 * Where backups are, as restic and Docker take it.
 *
 * @throws UserError for a path that the node cannot have
 */
export function repositoryOf(
  given: string,
  { host, name }: Node,
): { readonly repository: string; readonly folder?: string } {
  if (/^(s3|sftp):/.test(given)) {
    if (/^\w+:(\/\/|https?:\/\/)?[^/@]*:[^/@]*@/.test(given))
      throw new UserError(
        "A password in the place of the backups would be seen in logs: remove it, and set it as a secret (docs/backups.md)",
      );
    return { repository: given };
  }
  if (/^[a-z0-9]+:/.test(given))
    throw new UserError(`${given} is no place for backups: give a folder, s3:… or sftp:…`);
  const isHere = host.startsWith("unix://");
  if (!given.startsWith("/") && !isHere)
    throw new UserError(
      `${given} is a folder of this machine, but the volume is on node ${name}: give an absolute path of that node, s3:… or sftp:… (this machine by SSH, for example)`,
    );
  if (given.includes(":"))
    throw new UserError(`${given} has a colon, which Docker does not take in a folder`);
  return { repository: "/repository", folder: given.startsWith("/") ? given : `${process.cwd()}/${given}` };
}

/**
 * The variables with the secrets of the stack for the program in the image.
 *
 * @param secrets the key `secrets` of the configuration, in JSON
 * @throws UserError if there is no password
 */
export function secretVariables(secrets: string, cure: string): string[] {
  const parsed = parseJson(secrets);
  const values = isMapping(parsed) ? parsed : {};
  if (typeof values[passwordSecret] !== "string")
    throw new UserError(
      `The stack has no secret ${passwordSecret}, with which backups are encrypted. Set it: ${cure}`,
    );
  return secretNames.flatMap((name) => {
    const value = values[name];
    return typeof value === "string" ? [`${name.toUpperCase()}=${value}`] : [];
  });
}
