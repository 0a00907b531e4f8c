import type { z } from "zod";

import { list, mapping, mistake, parse, text } from "../../schema";

/** A host name, or an IPv4 or IPv6 address. It must not start with a dash, which ssh would read as an option. */
const address = /^[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}$/;
const dockerUrl =
  /^(?:unix:\/\/\/[\w./-]+|(?:tcp|ssh):\/\/(?:[a-z_][\w.-]*@)?(?:[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?)$/;

/** The keys of an entry of `hosts`. */
export const settings = {
  name: text(
    /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
    "lower-case letters, digits and dashes, at most 63",
  ).describe("name of the node"),
  address: text(address, 'the address at which the other nodes reach it, such as "10.0.0.7"').describe(
    "address at which the other nodes reach it",
  ),
  docker: text(dockerUrl, '"ssh://user@host", "tcp://host:2376" or "unix:///path"').describe(
    "URL of its Docker Engine: `ssh://user@host`, `tcp://host:2376` or `unix:///path`",
  ),
  publicAddress: text(address, "an address or a host name")
    .optional()
    .describe("address at which users reach it; default: `address`"),
  platform: text(/^linux\/[a-z0-9]+(?:\/v\d)?$/, '"linux/amd64" or "linux/arm64"')
    .default("linux/amd64")
    .describe("platform of its containers"),
};

const host = mapping(settings)
  .transform(({ publicAddress, ...rest }) => ({ ...rest, publicAddress: publicAddress ?? rest.address }))
  .readonly();

/** A machine that the user already has. */
export type HostConfig = z.output<typeof host>;

const hosts = list(host).check(({ value, issues }) => {
  for (const key of ["name", "address", "docker"] as const) {
    const owner = new Map<string, number>();
    for (const [index, entry] of value.entries()) {
      const other = owner.get(entry[key]);
      if (other !== undefined) {
        const problem = `is ${entry[key]}, the same as hosts[${other}].${key}`;
        issues.push(mistake([index, key], problem, "give each machine its own"));
      }
      owner.set(entry[key], index);
    }
  }
});

/**
 * Validates the list `hosts` and fills in defaults.
 *
 * @throws UserError that names the entry and the key
 */
export const parseHosts = (value: unknown): HostConfig[] => parse(hosts, value, "hosts");
