import { expect, test } from "vitest";

import { requireOffered } from "./machine-types";

test("a type that the zone does not offer is rejected by its key", () => {
  const check = (type: string, ...offered: string[]) => {
    requireOffered(type, "europe-north1-a", offered);
  };
  expect(() => {
    check("c4-standard-2");
  }).toThrow(
    'switchyard:machine.type is "c4-standard-2", which gcp:zone europe-north1-a does not offer: set another type',
  );
  check("e2-small", "e2-small");
  // Compute Engine lists no custom types.
  check("custom-4-8192");
  check("n2-custom-4-8192");
});
