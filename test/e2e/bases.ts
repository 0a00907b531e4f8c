import { readFileSync } from "node:fs";

/** The images that `script/bootstrap` has found or made on this machine, for all that the tests build and run. */
const bases = new Map(
  readFileSync(".switchyard/bases", "utf8")
    .split("\n")
    .map((line) => line.split(" ") as [string, string]),
);

export const baseImage = bases.get("baseImage") ?? "";
export const consulImage = bases.get("consulImage") ?? "";
