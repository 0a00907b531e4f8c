/** Turns a compose file into services of a stack, and says of every key what became of it. Pure but for the paths that it makes relative. */
import { isMapping } from "../lib/values";
import type { Job, Source } from "./draft";
import type { Fate, Say } from "./fate";
import { configsOf, secretsOf } from "./files";
import { sayNetworks } from "./networks";
import { rootOf } from "./ports";
import { textOf, type Mapping } from "./read";
import { convertService, handled } from "./service";
import { withoutSecrets } from "./shown";
import { setIt } from "./variables";
import { sayVolumes } from "./volumes";

export interface Imported {
  readonly services: readonly Mapping[];
  readonly configs: Readonly<Record<string, Mapping>>;
  /** Values to encrypt, by key in the stack file: `secrets.db`, `services[2].env.DB_PASSWORD`. */
  readonly secrets: ReadonlyMap<string, string>;
  readonly fates: readonly Fate[];
}

/** What becomes of the other top-level keys. */
const changed = new Map([
  ["name", "is what the network of its services is called"],
  ["networks", "are made where a service is on them"],
  ["version", "Compose itself ignores it"],
]);

export function convert(whole: Mapping, source: Source): Imported {
  const fates: Fate[] = [];
  const say: Say = (key, fate, text) => fates.push({ key, fate, text });
  const compose = withoutSecrets(whole, source, handled, (key, text) => say(key, "left out", text));
  const secrets = new Map<string, string>();
  const given = compose["services"] as Mapping;
  const root = source.hasRoot ? undefined : rootOf(Object.values(given).filter(isMapping));
  const project = textOf(compose["name"]) || source.project;
  const job: Job = { ...source, project, compose, services: given, root, secrets, say };
  const services = Object.entries(given).map(([name, value], index) =>
    convertService(name, isMapping(value) ? value : {}, source.present + index, job),
  );
  let configs: Imported["configs"] = {};
  for (const [key, value] of Object.entries(compose)) {
    if (key === "services") continue;
    if (key === "secrets" && isMapping(value)) {
      for (const [name, content] of secretsOf(value, source, say)) secrets.set(name, content);
    } else if (key === "configs" && isMapping(value)) configs = configsOf(value, source.folder, say);
    else if (key === "volumes" && isMapping(value)) sayVolumes(value, say);
    else {
      if (key === "networks" && isMapping(value)) sayNetworks(value, say);
      say(key, changed.has(key) ? "changed" : "left out", changed.get(key) ?? "is not known here");
    }
  }
  for (const name of source.unset)
    say(`\${${name}}`, "changed", `is not set, and was taken as empty: ${setIt}`);
  const { hidden } = source;
  const told = fates.map(({ key, fate, text }) => ({
    key: hidden.named(key),
    fate,
    text: hidden.named(text),
  }));
  return { services, configs, secrets, fates: told };
}
