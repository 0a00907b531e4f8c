import type { z } from "zod";

import { mapping, parse, text, whole } from "../../schema";

/** The keys of `machine`. */
export const settings = {
  cpus: whole(1, 64).default(2).describe("processors; changes in place"),
  memoryMb: whole(1024, 1_048_576).default(2048).describe("memory; changes in place"),
  diskGb: whole(4, 2048).default(20).describe("size of the disk; grows in place, never shrinks"),
  hostOnlyAdapter: text(
    /^[A-Za-z0-9][A-Za-z0-9 #-]{0,63}$/,
    'the name of a host-only adapter, such as "vboxnet0"',
  )
    .default("vboxnet0")
    .describe("host-only adapter that connects the nodes"),
  network: text(/^(?:\d{1,3}\.){3}0\/24$/, 'the network of that adapter, such as "192.168.56.0/24"')
    .default("192.168.56.0/24")
    .describe("network of that adapter; the nodes are .11 and on"),
};

const machine = mapping(settings)
  // The network's first three numbers.
  .transform(({ network, ...rest }) => ({ ...rest, network: network.replace(/\.0\/24$/, "") }))
  .readonly();

export type Settings = z.output<typeof machine>;

/**
 * The mapping `machine`, with defaults filled in.
 *
 * @throws UserError naming the key
 */
export const parseSettings = (value: unknown): Settings => parse(machine, value, "machine");
