import * as pulumi from "@pulumi/pulumi";

import { DynamicResource } from "../../providers/dynamic-resource";
import { configError } from "../schema";
import { replacing } from "./ssh-files";

/** By name. */
export type Settings = Readonly<Record<string, string>>;

interface Creation {
  readonly settings: Settings;
  readonly userData: string;
  readonly hostKey: string;
}

export const creationSettingsProvider: pulumi.dynamic.ResourceProvider<Creation, Creation> = {
  create: (inputs) => Promise.resolve({ id: "settings", outs: inputs }),
  diff: (_id, olds, news) => Promise.resolve({ changes: olds.hostKey !== news.hostKey }),
  update: (_id, _olds, news) => Promise.resolve({ outs: news }),
};

type Kept = Pick<Creation, "settings" | "userData">;

/** Earlier versions did not keep all settings. */
const differs = (name: string, kept: Settings, wanted: Settings): boolean =>
  kept[name] !== undefined && kept[name] !== wanted[name];

/** What has changed since the machine was created. */
export const outdated = (kept: Kept, wanted: Kept): string[] => [
  ...Object.keys(wanted.settings).filter((name) => differs(name, kept.settings, wanted.settings)),
  ...(kept.userData === wanted.userData ? [] : ["user data"]),
];

/** The setting `network` for the user's own network, if there is one. */
export const networkSetting = (own: object | undefined): string =>
  own === undefined ? "of the stack" : Object.values(own).flat().join(" ");

/** Settings with which the cloud could not start the machine again, or would replace it, and the keys they come from. */
const fixed = [
  { setting: "platform", key: "machine.type", asks: "a type for", made: "for" },
  { setting: "diskType", key: "machine.type", asks: "a type for disks of", made: "for disks of" },
  { setting: "network", key: "machine", asks: "in the network", made: "in the network" },
];

/** @throws UserError if the machine would get a type that it cannot have, or another network */
export function requireFixed(name: string, kept: Settings, wanted: Settings): void {
  for (const { setting, key, asks, made } of fixed)
    if (differs(setting, kept, wanted))
      throw configError(
        key,
        `is ${asks} ${wanted[setting] ?? ""}, but the machine of ${name} was created ${made} ${kept[setting] ?? ""}`,
        "leave it, or run script/down first",
      );
}

export interface CreationSettingsArgs {
  /** Such as its image, and its platform. */
  readonly settings: pulumi.Input<Settings>;
  /** A secret. */
  readonly userData: pulumi.Output<string>;
  /** The machine's public SSH key. */
  readonly hostKey: pulumi.Output<string>;
}

/**
 * What only a new machine can have. A machine keeps what it was created with: otherwise a new release of Switchyard or another
 * image would replace all machines at once, with all that is on their disks. A new host key renews it, and replaces the machine.
 */
export class CreationSettings extends DynamicResource {
  declare readonly settings: pulumi.Output<Settings>;
  declare readonly userData: pulumi.Output<string>;
  /** Known once the machine can have what is asked. If it cannot, this fails, and so does whatever waits for it. */
  readonly checked: pulumi.Output<unknown>;

  /** @param name the node's name */
  constructor(name: string, args: CreationSettingsArgs, opts?: pulumi.CustomResourceOptions) {
    super(
      { file: __filename, provider: "creationSettingsProvider" },
      name,
      { ...args },
      pulumi.mergeOptions(opts, { additionalSecretOutputs: ["userData"] }),
      "CreationSettings",
    );
    const { settings, userData } = args;
    const kept = { settings: this.settings, userData: this.userData };
    const compared = pulumi.all([kept, { settings, userData }]).apply(([kept, wanted]) => {
      requireFixed(name, kept.settings, wanted.settings);
      const names = outdated(kept, wanted);
      if (names.length === 0) return;
      void pulumi.log.info(
        `${name} keeps the ${names.join(", ")} that its machine was created with. To replace the machine, and lose what is on ` +
          `its disk: ${replacing(name)}`,
      );
    });
    this.checked = pulumi.unsecret(compared);
  }

  /** One of the settings. */
  setting(name: string): pulumi.Output<string> {
    return this.settings.apply((settings) => settings[name] ?? "");
  }

  /** A value for machines with a setting that is "true", and nothing for others. */
  when<T>(name: string, value: T): pulumi.Output<T> {
    return this.setting(name).apply((setting) =>
      setting === "true" ? value : undefined,
    ) as pulumi.Output<T>;
  }
}
