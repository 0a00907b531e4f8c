/** What is true of the load balancer as a whole, in a map, because it changes while HAProxy runs. Pure. */

/** `ready`: a routing from Consul has been in force. */
type Flag = "ready";

/** The condition that a flag is set. */
export const hasFlag = (flag: Flag, dir: string): string =>
  `{ str(${flag}),map_str(${dir}/flags.map) -m found }`;

export const flagsMap = (ready: boolean): Map<Flag, string> => new Map(ready ? [["ready", "1"]] : []);
