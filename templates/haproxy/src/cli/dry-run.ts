/** What `--dry` prints. Pure. */
import { buildRouting } from "../../../../routing/build";
import type { Catalog } from "../../../../routing/types";
import { render, toConfig, toMapFile } from "../config/render";
import type { RenderOptions } from "../config/types";

/** The configuration, the maps, and everything that was rejected and why. */
export function dryRun(
  catalog: Catalog,
  options: RenderOptions,
  ownPorts: ReadonlyMap<number, string>,
): string {
  const routing = buildRouting(catalog, { reservedPorts: ownPorts });
  const rendered = render(routing, options);
  const problems = routing.problems.map(({ level, message }) => `# ${level}: ${message}\n`);
  const maps = Object.entries(rendered.maps).map(([name, map]) => `\n# ${name}\n${toMapFile(map)}`);
  return `# haproxy.cfg\n${toConfig(rendered)}${maps.join("")}${problems.length > 0 ? "\n" : ""}${problems.join("")}`;
}
