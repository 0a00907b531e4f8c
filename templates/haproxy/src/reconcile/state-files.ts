/** The files that HAProxy is loaded from: replaced only by what it would load. */
import { mkdir, rename } from "node:fs/promises";
import type { Routing } from "../../../../routing/build";
import { serverStateFile } from "../haproxy/commands";
import { countersFile } from "../config/counters";
import { readIfThere, writeWhole } from "../../../../lib/files";
import { checkServices, ServicesRefused } from "./quarantine";
import { toConfig, toMapFile } from "../config/render";
import { mapNames, type Rendered } from "../config/types";
import { errorPage, errorPageName, errorPages } from "../config/sections";

export class StateFiles {
  constructor(
    private readonly dir: string,
    /** What HAProxy has against a configuration file. */
    private readonly validate: (file: string) => Promise<string | undefined>,
  ) {}

  get config(): string {
    return this.path("haproxy.cfg");
  }

  /** What does not change. */
  async prepare(runDir: string): Promise<void> {
    for (const dir of [this.dir, runDir]) await mkdir(dir, { recursive: true, mode: 0o700 });
    for (const [status, message] of Object.entries(errorPages))
      await writeWhole(this.path(errorPageName(status)), errorPage(Number(status), message));
  }

  /** `up` are the servers that stay up over it. Throws when HAProxy would not load it. */
  async replace(
    routing: Routing,
    render: (routing: Routing) => Rendered,
    up: ReadonlySet<string>,
  ): Promise<void> {
    const desired = render(routing);
    await writeWhole(this.path("server.state"), serverStateFile(desired.backends, up));
    for (const name of mapNames)
      if ((await readIfThere(this.path(name))) === undefined) await writeWhole(this.path(name), "");
    const candidate = this.path("haproxy.candidate.cfg");
    const check = async (some: Routing): Promise<string | undefined> => {
      await writeWhole(candidate, toConfig(some === routing ? desired : render(some)));
      return this.validate(candidate);
    };
    const failure = await check(routing);
    if (failure !== undefined) {
      const refused = await checkServices(routing, check);
      if (refused.size > 0) throw new ServicesRefused(refused);
      throw new Error(`HAProxy would not load the new configuration: ${failure}`);
    }
    await this.writeMaps(desired);
    await rename(candidate, this.config);
  }

  /** What is known to be good. */
  async write(rendered: Rendered): Promise<void> {
    await this.writeMaps(rendered);
    await writeWhole(this.config, toConfig(rendered));
  }

  /** What a new worker begins to count with. */
  async writeCounters(dump: string): Promise<void> {
    await writeWhole(countersFile(this.dir), dump);
  }

  private path(name: string): string {
    return `${this.dir}/${name}`;
  }

  private async writeMaps(rendered: Rendered): Promise<void> {
    for (const name of mapNames) await writeWhole(this.path(name), toMapFile(rendered.maps[name]));
  }
}
