import { expect, test } from "vitest";

import { chooseZones, requireOffered } from "./zones";

const open = ["us-east-1f", "us-east-1e", "us-east-1a"];

test("nodes are created in the zones that offer their type, and in no Local Zone", () => {
  const offering = ["us-east-1-bos-1a", "us-east-1f", "us-east-1a"];
  expect(chooseZones("t3.small", offering, open)).toEqual(["us-east-1a", "us-east-1f"]);
});

test("a type that no zone offers is rejected by its key", () => {
  expect(() => chooseZones("p5.48xlarge", ["us-east-1-bos-1a"], open)).toThrow(
    'switchyard:machine.type is "p5.48xlarge", which no availability zone of the region offers: set another',
  );
});

test("a type that the zone of a node does not offer is rejected", () => {
  const check = (zone: string) => {
    requireOffered("node-2", "t3.small", zone, ["us-east-1a", "us-east-1f"]);
  };
  check("us-east-1f");
  expect(() => {
    check("us-east-1e");
  }).toThrow(
    'switchyard:machine.type is "t3.small", which us-east-1e, the availability zone of node-2, does not offer: set another',
  );
});
