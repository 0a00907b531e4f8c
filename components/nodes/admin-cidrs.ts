import { isIP } from "node:net";

import { z } from "zod";

import { configError, mistake } from "../schema";

const form = 'it must be a network such as "203.0.113.7/32"';

/** The shortest prefix that is not treated as the whole internet, for IPv4 and IPv6. */
const shortest = { 4: 8, 6: 16 } as const;
const longest = { 4: 32, 6: 128 } as const;

function prefixOf(cidr: string): { version: 4 | 6; bits: number } | undefined {
  const [address = "", length = "", ...rest] = cidr.split("/");
  const version = isIP(address);
  if ((version !== 4 && version !== 6) || rest.length > 0 || !/^\d{1,3}$/.test(length)) return undefined;
  const bits = Number(length);
  return bits <= longest[version] ? { version, bits } : undefined;
}

/** A network that may administer the machines; none so large that it amounts to the whole internet. */
export const adminCidr = z
  .string({ error: () => form })
  .refine((value) => prefixOf(value) !== undefined, { error: () => form, abort: true })
  .check(({ value, issues }) => {
    const { version, bits } = prefixOf(value) ?? { version: 4 as const, bits: 0 };
    if (bits >= shortest[version]) return;
    const problem = `is ${value}, which covers most of the internet`;
    issues.push(mistake([], problem, "list only the networks that you connect from"));
  });

/**
 * Returns the networks that may administer machines on the internet: SSH, the statistics page, and every port but 80 and 443.
 *
 * @throws UserError if the list is empty
 */
export function requireAdminCidrs(cidrs: readonly string[]): readonly string[] {
  if (cidrs.length > 0) return cidrs;
  const problem = "is empty, so nobody could reach the machines over SSH";
  const cure =
    "list the networks that you connect from: pulumi config set --path 'adminCidrs[0]' 203.0.113.7/32";
  throw configError("adminCidrs", problem, cure);
}
