/** Keeps an import from sharing or overwriting what the stack file already has. Pure. */
import { readNetworks } from "../components/config/networks";
import { isOfNode, readVolume } from "../components/config/volumes";
import { UserError } from "../lib/errors";
import { isMapping } from "../lib/values";
import type { Imported } from "./convert";
import { isExternal, networkName } from "./networks";
import { list, type Mapping } from "./read";

/** Names in use in a stack file. */
interface Names {
  readonly services: readonly string[];
  readonly volumes: readonly string[];
  readonly networks: readonly string[];
  readonly configs: readonly string[];
  readonly secrets: readonly string[];
}

const keysOf = (value: unknown): string[] => (isMapping(value) ? Object.keys(value) : []);

/** The volumes of a service that are on a node. */
const volumesOf = (service: Mapping): string[] =>
  list(service["volumes"]).flatMap((each) => {
    const volume = readVolume(each);
    return volume.ok && isOfNode(volume.value) ? [volume.value.source ?? ""] : [];
  });

function networksOf(service: Mapping): string[] {
  const networks = readNetworks(service["networks"] ?? []);
  return networks.ok ? networks.value.map(({ name }) => name) : [];
}

function namesOf(services: readonly unknown[], configs: unknown, secrets: unknown): Names {
  const given = services.filter(isMapping);
  return {
    services: given.map(({ name }) => String(name)),
    volumes: given.flatMap(volumesOf),
    networks: given.flatMap(networksOf),
    configs: keysOf(configs),
    secrets: keysOf(secrets),
  };
}

/** The external networks of the compose file, which are to be shared. */
const externalNetworks = (compose: Mapping): string[] => {
  const networks = isMapping(compose["networks"]) ? compose["networks"] : {};
  return keysOf(networks)
    .filter((name) => isExternal(networks[name]))
    .map(networkName);
};

/** The secrets that the compose file declares, including those that the user has to encrypt. */
const ownSecrets = (compose: Mapping): Mapping =>
  isMapping(compose["secrets"])
    ? Object.fromEntries(Object.entries(compose["secrets"]).filter(([, secret]) => !isExternal(secret)))
    : {};

/**
 * Rejects an import whose names are taken: its services would write to the same files, answer to the same names, or overwrite
 * passwords.
 *
 * @param config that of the stack file
 * @throws UserError with all names that are taken
 */
export function refuseTaken(imported: Imported, compose: Mapping, config: Mapping, stackFile: string): void {
  const key = (name: string) => config[`switchyard:${name}`];
  const taken = namesOf(list(key("services")), key("configs"), key("secrets"));
  const wanted = namesOf(imported.services, imported.configs, ownSecrets(compose));
  const shared = externalNetworks(compose);
  const rename = "rename it in the compose file";
  const cures = {
    service: [wanted.services, taken.services, "rename or remove it"],
    volume: [wanted.volumes, taken.volumes, `both would write to the same files; ${rename}`],
    network: [
      wanted.networks.filter((name) => !shared.includes(name)),
      taken.networks,
      `${rename} (set name: at its top if all services share the network), or set external: true to join it`,
    ],
    config: [wanted.configs, taken.configs, "rename or remove it"],
    secret: [wanted.secrets, taken.secrets, `it would be overwritten; ${rename}, or set external: true to use it`],
  } as const; // prettier-ignore
  const problems = Object.entries(cures).flatMap(([kind, [names, others, cure]]) =>
    [...new Set(names)]
      .filter((name) => others.includes(name))
      .map((name) => `${stackFile} already has a ${kind} ${name}: ${cure}.`),
  );
  if (problems.length > 0) throw new UserError(problems.join("\n"));
}
