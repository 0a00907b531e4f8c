import * as ec2 from "@pulumi/aws/ec2";
import { getAvailabilityZonesOutput } from "@pulumi/aws/getAvailabilityZones";
import * as pulumi from "@pulumi/pulumi";

import { configError } from "../../schema";

/**
 * The region's availability zones that offer an instance type, sorted. Not every zone offers every type, and without a choice
 * EC2 may put a subnet into any zone.
 */
export function zonesOffering(type: string): pulumi.Output<string[]> {
  const offered = ec2.getInstanceTypeOfferingsOutput({
    filters: [{ name: "instance-type", values: [type] }],
    locationType: "availability-zone",
  });
  // No Local Zones: an account has to opt in to them, and they lack many services.
  const open = getAvailabilityZonesOutput({
    state: "available",
    filters: [{ name: "opt-in-status", values: ["opt-in-not-required"] }],
  });
  return pulumi
    .all([offered.locations, open.names])
    .apply(([locations, names]) => chooseZones(type, locations, names));
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
