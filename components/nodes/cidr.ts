import { isIP } from "node:net";

import { ConfigError, list } from "../config/value";

/**
 * The networks from which the machines may be administered: ssh, the statistics page, and every port but 80 and 443.
 *
 * @throws ConfigError where there are none, or one is so wide that it is as good as the world
 */
export function parseAdminCidrs(value: unknown): readonly string[] {
  const cidrs = list(value, "adminCidrs").map((item, index) => {
    const key = `adminCidrs[${index}]`;
    const [address = "", length = "", ...rest] = typeof item === "string" ? item.split("/") : [];
    const version = isIP(address);
    const bits = /^\d{1,3}$/.test(length) && rest.length === 0 ? Number(length) : NaN;
    if (version === 0 || !(bits <= (version === 4 ? 32 : 128))) {
      throw new ConfigError(
        key,
        `is ${JSON.stringify(item)}`,
        'it must be a network such as "203.0.113.7/32"',
      );
    }
    if (bits < (version === 4 ? 8 : 16)) {
      throw new ConfigError(
        key,
        `is ${address}/${length}, which is next to the whole world`,
        "name the networks that you come from",
      );
    }
    return `${address}/${length}`;
  });
  if (cidrs.length === 0) {
    throw new ConfigError(
      "adminCidrs",
      "is empty, so that nobody could reach the machines by ssh",
      "name the networks that you come from: pulumi config set --path 'adminCidrs[0]' 203.0.113.7/32",
    );
  }
  return cidrs;
}
