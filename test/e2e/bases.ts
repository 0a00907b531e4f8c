import { readFileSync } from "node:fs";

/** The base images that `script/bootstrap` found or built on this machine. */
const bases = new Map(
  readFileSync(".switchyard/bases", "utf8")
    .split("\n")
    .map((line) => line.split(" ") as [string, string]),
);

export const baseImage = bases.get("baseImage") ?? "";
export const consulImage = bases.get("consulImage") ?? "";
