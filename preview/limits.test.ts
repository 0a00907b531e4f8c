import { expect, test } from "vitest";

import { parseService } from "../components/config/services";
import { encodeStatus, type ScalingStatus } from "../routing/scaling/status";
import { limitNotes } from "./limits";

const mebibyte = 2 ** 20;
const memory = { target: 96 * mebibyte, lower: 80 * mebibyte, upper: 140 * mebibyte, auto: false };
const service = (name: string, more: object = {}) =>
  parseService({ name, image: "nginx:1.29", port: 80, ...more }, name);

const notes = (limits: ScalingStatus["limits"], ...services: ReturnType<typeof service>[]) => {
  const status = { node: "n", dry: false, at: "2026-11-29T09:00:00.000Z", services: [], nodesWanted: 0 };
  return limitNotes(encodeStatus({ ...status, ...(limits && { limits }) }), services);
};

test("a limit that is missing, too low or too high is noted", () => {
  const of = (current?: number) =>
    notes([{ name: "a", swarmName: "a", memory: { ...memory, ...(current && { current }) } }], service("a"));
  expect(of()).toEqual(["a: memory without a limit, recommended 96 MiB (80 MiB to 140 MiB)."]);
  expect(of(64 * mebibyte)).toEqual(["a: memory 64 MiB, recommended 96 MiB (80 MiB to 140 MiB)."]);
  expect(of(512 * mebibyte)).toEqual(["a: memory 512 MiB, recommended 96 MiB (80 MiB to 140 MiB)."]);
  expect(of(128 * mebibyte)).toEqual([]);
});

test("automatic limits, and services that are not in the stack file, are not", () => {
  const limits = [{ name: "a", swarmName: "a", memory: { ...memory, auto: true } }];
  expect(notes(limits, service("a"))).toEqual([]);
  expect(notes([{ name: "a", swarmName: "a", memory }], service("a", { memory: "auto" }))).toEqual([]);
  expect(notes([{ name: "b", swarmName: "b", memory }], service("a"))).toEqual([]);
});

test("without an autoscaler there is nothing, and a status that is none is told of", () => {
  expect(limitNotes(undefined, [service("a")])).toEqual([]);
  expect(limitNotes("{", [service("a")])).toEqual([
    "The autoscaler's recommendations are not shown: its status in Consul is not JSON.",
  ]);
});
