/** Volumes of a compose file, and paths in it. */
import { homedir } from "node:os";
import path from "node:path";

import { isMapping } from "../lib/values";
import type { Say } from "./fate";
import { othersOf, type Mapping } from "./read";

/** The path with the home folder in place of `~`, as in Compose. */
export const atHome = (file: string): string => file.replace(/^~(?=\/|$)/, homedir);

/** A path of the compose file's folder, relative to the stack file. */
export function moved(given: string, folder: string): string {
  const file = atHome(given);
  if (path.isAbsolute(file)) return file;
  const relative = path.relative("", path.resolve(folder, file));
  return relative === "" ? "." : relative.startsWith("..") ? relative : `./${relative}`;
}

/** Says what becomes of the volumes of a file. */
export function sayVolumes(volumes: Mapping, say: Say): void {
  for (const [name, volume] of Object.entries(volumes)) {
    say(`volumes.${name}`, "changed", "is made where a service mounts it; it starts empty");
    for (const option of othersOf(volume, ["driver_opts"]))
      say(`volumes.${name}.${option}`, "left out", "volumes are made by the stack, with names of its own");
  }
}

/** Compose's short or long form, or nothing if it has no counterpart. */
export function volumeOf(
  each: unknown,
  service: string,
  compose: Mapping,
  folder: string,
  own: string,
  drop: (why: string) => void,
): unknown[] {
  const [first = "", second, mode] = typeof each === "string" ? each.split(":") : [];
  const long: Mapping = isMapping(each)
    ? each
    : {
        source: second === undefined ? undefined : first,
        target: second ?? first,
        read_only: /\bro\b/.test(mode ?? "") ? "true" : undefined,
      };
  const { type, source, target, read_only: readOnly } = long;
  if (typeof target !== "string" || (type !== undefined && type !== "volume" && type !== "bind")) {
    drop(`${JSON.stringify(each)} has no counterpart; ${own}`);
    return [];
  }
  const modes = (mode ?? "").split(",").filter((each) => !["", "ro", "rw"].includes(each));
  for (const other of [...othersOf(long, ["type", "source", "target", "read_only"]), ...modes])
    drop(`${other} of ${target} has no counterpart; ${own}`);
  if (typeof source === "string" && source.endsWith("docker.sock")) {
    drop("no service gets Docker's socket, which controls the node");
    return [];
  }
  if (type === "bind" && typeof source !== "string") {
    drop(`${target} is a bind without a source: name its folder`);
    return [];
  }
  const isPath = typeof source === "string" && (type === "bind" || /^[./~]/.test(source));
  const from = isPath ? moved(source, folder) : typeof source === "string" ? source : `${service}${target.replace(/[^a-zA-Z0-9]+/g, "-")}`; // prettier-ignore
  const volumes = isMapping(compose["volumes"]) ? compose["volumes"] : {};
  const declared = isPath ? undefined : volumes[from];
  const options =
    isMapping(declared) && isMapping(declared["driver_opts"]) ? declared["driver_opts"] : undefined;
  if (options !== undefined)
    return [{ type: "volume", source: from, target, driver_opts: options, ...(readOnly === "true" && { read_only: true }) }]; // prettier-ignore
  return [`${from}:${target}${readOnly === "true" ? ":ro" : ""}`];
}
