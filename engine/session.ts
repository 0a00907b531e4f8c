/** One command on one stack: locks it, loads its state, and refreshes, plans and applies. */
import { rmSync } from "node:fs";
import { createRequire } from "node:module";
import { DynamicProviders } from "./dynamic";
import { UserError } from "../lib/errors";
import { doneLine, startLine } from "./print";
import type { Config, Project } from "./project";
import { Providers } from "./providers";
import type { Change } from "./change";
import { refreshed } from "./refresh";
import { Run } from "./run";
import type { Crypter } from "./secrets";
import {
  loadState,
  lockStack,
  nameOf,
  type ResourceState,
  saveState,
  stateFile,
  type StackState,
} from "./state";
import { hasUnknown, plainMap, type WireMap } from "./wire";

export interface Options {
  readonly project: Project;
  readonly stack: string;
  readonly config: Config;
  readonly crypter: Crypter | undefined;
  /** URNs of resources to replace although they have not changed, perhaps with wildcards. */
  readonly replace: readonly string[];
  readonly say: (line: string) => void;
}

export class Session {
  private readonly file: string;
  private readonly providers: Providers;
  private current: StackState;
  private run: Run | undefined;
  private absent: ReadonlySet<string> = new Set();
  private unlock: () => void = () => undefined;

  constructor(
    private readonly options: Options,
    readonly: boolean,
  ) {
    const { project, stack, config, crypter, say } = options;
    this.file = stateFile(project.dir, stack);
    if (!readonly) this.unlock = lockStack(this.file, say);
    this.current = loadState(this.file, stack, crypter);
    this.providers = new Providers(
      {
        stack: `${project.name}/${stack}`,
        providerInputs: (urn) => this.providerInputs(urn),
        inState: (id) => this.current.resources.some((r) => r.id === id),
        say: (urn, line) => {
          say(`      ${nameOf(urn)}: ${line}`);
        },
      },
      new DynamicProviders(project.name, config.values),
    );
  }

  get state(): StackState {
    return this.current;
  }

  close(): void {
    this.unlock();
  }

  /** Ends the run. Operations in progress finish and are saved. */
  interrupt(): void {
    this.run?.fail(
      new UserError(
        "Interrupted. Operations in progress were finished and saved: run the command again to continue.",
      ),
    );
  }

  private providerInputs(urn: string | undefined): WireMap {
    if (urn === undefined) {
      const host = this.options.config.values["docker:host"];
      return host === undefined ? {} : { host };
    }
    return plainMap(this.current.resources.find((r) => r.urn === urn)?.inputs ?? {});
  }

  private save(): void {
    saveState(this.file, this.current, this.options.crypter);
  }

  /** Reads the real resources, so that `up` repairs what was deleted or stopped by hand. Returns what is gone. */
  async refresh(): Promise<ResourceState[]> {
    const { resources, gone, absent } = await refreshed(
      this.current.resources,
      (old) => this.providers.refresh(old),
      this.options.say,
    );
    this.current.resources = resources;
    this.absent = absent;
    return gone;
  }

  private async pass(dryRun: boolean, state: StackState, work: (run: Run) => Promise<void>): Promise<Run> {
    const { say, replace } = this.options;
    this.current = state;
    const run = new Run({
      dryRun,
      replace: matching(replace, state.resources),
      absent: this.absent,
      state,
      providers: this.providers,
      save: () => {
        this.save();
      },
      report: (change: Change) => {
        if (dryRun) return undefined;
        say(startLine(change));
        const begun = Date.now();
        return () => {
          say(doneLine(change, Date.now() - begun));
        };
      },
    });
    this.run = run;
    await work(run);
    if (run.errors.length === 0) await run.removeRest();
    await run.settle();
    return run;
  }

  private async program(run: Run, dryRun: boolean): Promise<void> {
    const { project, stack, config } = this.options;
    // Load this late, because `down` and `outputs` do not need the Pulumi SDK.
    const { runProgram } = createRequire(__filename)("./program") as typeof import("./program");
    await runProgram(run, project, stack, config, dryRun);
  }

  /** Plans without changing the state. `planned` is the new state in case no changes are needed. */
  async plan(): Promise<{ run: Run; planned: StackState }> {
    const actual = this.current;
    const planned = structuredClone(actual);
    const run = await this.pass(true, planned, (r) => this.program(r, true));
    this.current = actual;
    return { run, planned };
  }

  async apply(): Promise<Run> {
    const run = await this.pass(false, this.current, (r) => this.program(r, false));
    this.save();
    return run;
  }

  /** If no changes are needed, saves the plan's options, dependencies and outputs as the new state. */
  adopt(planned: StackState): boolean {
    if (hasUnknown(planned.outputs)) return false;
    this.current = planned;
    this.save();
    return true;
  }

  async destroy(): Promise<Run> {
    const run = await this.pass(false, this.current, () => Promise.resolve());
    if (this.current.resources.length === 0) rmSync(this.file, { force: true });
    return run;
  }
}

/**
 * The URNs that match a pattern. As the Pulumi CLI has it, `**` stands for anything and `*` for anything within a part of a URN.
 *
 * @throws UserError if a pattern matches none
 */
export function matching(
  patterns: readonly string[],
  resources: readonly Pick<ResourceState, "urn">[],
): ReadonlySet<string> {
  const found = patterns.flatMap((pattern) => {
    const parts = pattern
      .split(/(\*\*?)/)
      .map((part) => (part === "**" ? ".*" : part === "*" ? "[^:]*" : part.replace(/[^\w:]/g, "\\$&")));
    const urns = resources.filter(({ urn }) => new RegExp(`^${parts.join("")}$`).test(urn));
    if (urns.length === 0) throw new UserError(`--replace ${pattern} matches no resource of the stack.`);
    return urns.map(({ urn }) => urn);
  });
  return new Set(found);
}
