import { expect, test } from "vitest";

import { chooseZones } from "./zones";

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
