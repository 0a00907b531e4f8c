import type { z } from "zod";

import { flag, mapping, parse, text, whole } from "../../schema";
import { aptSettings } from "../apt-settings";

/** The keys of `machine`. */
export const settings = {
  cpus: whole(1, 64).default(2).describe("number of CPUs; changes in place"),
  memoryMb: whole(1024, 1_048_576).default(2048).describe("memory in MB; changes in place"),
  diskGb: whole(4, 2048).default(20).describe("disk size in GB; grows in place"),
  autostart: flag()
    .default(false)
    .describe("whether VirtualBox's autostart service starts the nodes with this computer; changes in place"),
  hostOnlyAdapter: text(
    /^[A-Za-z0-9][A-Za-z0-9 #-]{0,63}$/,
    'the name of a host-only adapter, such as "vboxnet0"',
  )
    .default("vboxnet0")
    .describe("host-only adapter that connects the nodes"),
  network: text(/^(?:\d{1,3}\.){3}0\/24$/, 'the network of that adapter, such as "192.168.56.0/24"')
    .default("192.168.56.0/24")
    .describe("network of that adapter; node addresses start at .11"),
  ...aptSettings,
};

const machine = mapping(settings)
  // Keep the network's first three octets.
  .transform(({ network, aptMirror, proxy, ...rest }) => ({
    ...rest,
    apt: { aptMirror, proxy },
    network: network.replace(/\.0\/24$/, ""),
  }))
  .readonly();

export type Settings = z.output<typeof machine>;

/**
 * Validates the mapping `machine` and fills in defaults.
 *
 * @throws UserError that names the key
 */
export const parseSettings = (value: unknown): Settings => parse(machine, value, "machine");
