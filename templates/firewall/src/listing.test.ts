import { expect, it } from "vitest";
import type { Instances } from "./instances";
import { Listing } from "./listing";

const at = (address: string): Instances => ({ ports: { ipv4: [], ipv6: [] }, addresses: [address] });
const failing = (why: string) => () => Promise.reject(new Error(why));

it("keeps what Docker listed last, and logs each reason once", async () => {
  const answers = [
    () => Promise.resolve(at("10.0.0.2")),
    failing("timeout"),
    failing("timeout"),
    failing("500"),
    () => Promise.resolve(at("10.0.0.3")),
    failing("500"),
  ];
  const log: string[] = [];
  const listing = new Listing(
    () => (answers.shift() ?? failing("no more"))(),
    (line) => log.push(line),
  );
  const found: [string[], boolean][] = [];
  while (answers.length > 0) {
    const { addresses } = await listing.instances();
    found.push([[...addresses], listing.isOld]);
  }
  expect(found).toEqual([
    [["10.0.0.2"], false],
    [["10.0.0.2"], true],
    [["10.0.0.2"], true],
    [["10.0.0.2"], true],
    [["10.0.0.3"], false],
    [["10.0.0.3"], true],
  ]);
  const line = (why: string) =>
    `Docker did not list the instances (${why}); those that it listed last stay in the rules`;
  expect(log).toEqual([line("timeout"), line("500"), line("500")]);
});

it("has nothing to keep before the first list", async () => {
  const listing = new Listing(failing("timeout"), () => undefined);
  await expect(listing.instances()).rejects.toThrow("timeout");
});
