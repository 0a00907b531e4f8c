import { configError } from "../../schema";

/**
 * @param offered the zone's machine types of that name
 * @throws UserError if the zone does not offer the type. Compute Engine would say so only when a node has been stopped.
 */
export function requireOffered(type: string, zone: string, offered: readonly string[]): void {
  // Custom types are in no list.
  if (offered.includes(type) || /^(?:[a-z0-9]+-)?custom-/.test(type)) return;
  throw configError(
    "machine.type",
    `is ${JSON.stringify(type)}, which gcp:zone ${zone} does not offer`,
    "set another type",
  );
}
