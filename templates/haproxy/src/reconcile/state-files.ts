/** The files that HAProxy loads: replaced only by a configuration that it would load. */
import { mkdir, rename } from "node:fs/promises";
import { readIfThere, writeWhole } from "../../../../lib/files";
import { Mutex } from "../../../../lib/mutex";
import type { Routing } from "../../../../routing/types";
import { countersFile } from "../config/counters";
import { holdLua, holdScript, wantedFolder } from "../config/hold";
import { insideFile } from "../config/inside";
import { toConfig, toMapFile } from "../config/render";
import { errorPage, errorPageName, errorPages } from "../config/sections";
import { mapNames, type Rendered } from "../config/types";
import { serverStateFile } from "../haproxy/commands";
import { haproxyPaths } from "../haproxy/process";
import { validate } from "../haproxy/validate";
import { findRefused, type Refused } from "./quarantine";

export class StateFiles {
  private readonly mutex = new Mutex();
  private readonly config: string;

  constructor(
    private readonly dir: string,
    private readonly runDir: string,
    private readonly holding = false,
    private readonly inside: readonly string[] = [],
  ) {
    this.config = haproxyPaths(dir, runDir).config;
  }

  /** Runs `action` while nobody else replaces files, as a reload needs it: what HAProxy reads has to belong together. */
  exclusively<T>(action: () => Promise<T>): Promise<T> {
    return this.mutex.runExclusive(action);
  }

  /** Writes the files that never change. */
  async prepare(): Promise<void> {
    for (const dir of [this.dir, this.runDir]) await mkdir(dir, { recursive: true, mode: 0o700 });
    for (const [status, message] of Object.entries(errorPages))
      await writeWhole(this.path(errorPageName(status)), errorPage(Number(status), message));
    await writeWhole(insideFile(this.dir), this.inside.map((network) => `${network}\n`).join(""));
    if (!this.holding) return;
    await mkdir(wantedFolder(this.runDir), { recursive: true, mode: 0o700 });
    await writeWhole(holdScript(this.dir), holdLua(this.runDir));
  }

  /**
   * Replaces the configuration and the maps by those of a routing.
   *
   * @returns the services because of which HAProxy would not load it, in which case configuration and maps stay as they are
   * @throws if HAProxy would not load it and no single service is the cause
   */
  async replace(routing: Routing, render: (routing: Routing) => Rendered): Promise<Refused> {
    const desired = render(routing);
    for (const name of mapNames)
      if ((await readIfThere(this.path(name))) === undefined) await writeWhole(this.path(name), "");
    const candidate = this.path("haproxy.candidate.cfg");
    const check = async (some: Routing): Promise<string | undefined> => {
      await writeWhole(candidate, toConfig(some === routing ? desired : render(some)));
      return validate(candidate);
    };
    const failure = await check(routing);
    if (failure !== undefined) {
      const refused = await findRefused(routing, check);
      if (refused.size > 0) return refused;
      throw new Error(`HAProxy would not load the new configuration: ${failure}`);
    }
    await this.writeMaps(desired);
    await rename(candidate, this.config);
    return new Map();
  }

  /** Writes a configuration that is in force. */
  async write(rendered: Rendered): Promise<void> {
    await this.writeMaps(rendered);
    await writeWhole(this.config, toConfig(rendered));
  }

  /** Writes which servers (`backend/server`) a new worker starts with as up; all others are down. */
  async writeStates({ backends }: Rendered, up: ReadonlySet<string>): Promise<void> {
    await writeWhole(this.path("server.state"), serverStateFile(backends, up));
  }

  /** Writes the counters that a new worker starts from. */
  async writeCounters(counters: string): Promise<void> {
    await writeWhole(countersFile(this.dir), counters);
  }

  private path(name: string): string {
    return `${this.dir}/${name}`;
  }

  private async writeMaps(rendered: Rendered): Promise<void> {
    for (const name of mapNames) await writeWhole(this.path(name), toMapFile(rendered.maps[name]));
  }
}
