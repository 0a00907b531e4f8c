import * as ec2 from "@pulumi/aws/ec2";
import { getAvailabilityZonesOutput } from "@pulumi/aws/getAvailabilityZones";
import * as pulumi from "@pulumi/pulumi";

import { configError } from "../../schema";

/** The availability zones that offer an instance type. Not every zone offers every type. */
export function zonesOffering(type: string): pulumi.Output<string[]> {
  return ec2.getInstanceTypeOfferingsOutput({
    filters: [{ name: "instance-type", values: [type] }],
    locationType: "availability-zone",
  }).locations;
}

/** The zones for new subnets: without a choice, EC2 may put a subnet into any zone. */
export function zonesForSubnets(type: string, offering: pulumi.Output<string[]>): pulumi.Output<string[]> {
  // No Local Zones: an account has to opt in to them, and they lack many services.
  const open = getAvailabilityZonesOutput({
    state: "available",
    filters: [{ name: "opt-in-status", values: ["opt-in-not-required"] }],
  });
  return pulumi.all([offering, open.names]).apply(([offering, names]) => chooseZones(type, offering, names));
}

/**
 * The open zones among those that offer the type, sorted.
 *
 * @throws UserError if there is none
 */
export function chooseZones(type: string, offering: readonly string[], open: readonly string[]): string[] {
  const zones = open.filter((name) => offering.includes(name)).sort();
  if (zones.length > 0) return zones;
  throw configError(
    "machine.type",
    `is ${JSON.stringify(type)}, which no availability zone of the region offers`,
    "set another type, or another aws:region",
  );
}

/** @throws UserError if a node's zone does not offer the type. EC2 would say so only when the node has been stopped. */
export function requireOffered(name: string, type: string, zone: string, offering: readonly string[]): void {
  if (offering.includes(zone)) return;
  throw configError(
    "machine.type",
    `is ${JSON.stringify(type)}, which ${zone}, the availability zone of ${name}, does not offer`,
    "set another type",
  );
}
