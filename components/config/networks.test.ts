import { expect, it } from "vitest";

import { readNetworks } from "./networks";

it.each([
  [["shop"], [{ name: "shop", aliases: [] }]],
  [
    { shop: { aliases: ["database", "my_db"] }, back: null },
    [
      { name: "shop", aliases: ["database", "my_db"] },
      { name: "back", aliases: [] },
    ],
  ],
])("reads %j", (value, networks) => {
  expect(readNetworks(value)).toEqual({ ok: true, value: networks });
});

it.each([
  ["shop", [], "it must be a list of names, or a mapping of names to aliases"],
  [["a b"], [], "a network is named by at most 32 letters, digits, dots, dashes and underscores"],
  [["a", "a"], [], "remove one"],
  [{ a: [] }, ["a"], "it must be a mapping with aliases"],
  [{ a: { driver: "x" } }, ["a", "driver"], "remove it, or use one of aliases"],
  [{ a: { aliases: ["x\ny"] } }, ["a", "aliases"], 'it must be a list of host names, such as "database"'],
  // It leads to the load balancer of the instance's own node.
  [{ a: { aliases: ["rest.service.consul"] } }, ["a", "aliases"], 'it must be a list of host names, such as "database"'],
])("rejects %j", (value, path, cure) => {
  expect(readNetworks(value)).toMatchObject({ ok: false, mistake: { path, cure } });
}); // prettier-ignore
