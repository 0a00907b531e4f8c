/**
 * One run of the program against the stack's state. Compares every registration with the state, applies the difference
 * immediately unless this is a preview, and finally deletes what the program no longer registers.
 */
import { randomUUID } from "node:crypto";
import { type Change, change, deletion, entry, named, type Operation, stored, widened } from "./change";
import { type Diff, NO_DIFF, withoutIgnored } from "./diff";
import { NotReady } from "./dynamic";
import { UserError } from "../lib/errors";
import type { Goal } from "./goal";
import { isProvider, type Providers, refuseUnknown } from "./providers";
import { dependentsFirst, findOld, nameOf, type ResourceState, type StackState } from "./state";
import { keepSecret, plainMap, UNKNOWN, type WireMap } from "./wire";

export interface Settings {
  readonly dryRun: boolean;
  readonly state: StackState;
  /** Resources to replace although they have not changed. */
  readonly replace: ReadonlySet<string>;
  /** Resources that do not exist any more: what is replaced with them is replaced once they are created again. */
  readonly absent: ReadonlySet<string>;
  readonly providers: Providers;
  readonly save: () => void;
  /** Called when an operation starts. The returned function is called when it has succeeded. */
  readonly report: (change: Change) => (() => void) | undefined;
}

export interface Registered {
  readonly id: string;
  readonly outputs: WireMap;
}

/** Never settles, so that the program waits while the run ends. */
const forever = new Promise<never>(() => undefined);

export class Run {
  readonly changes: Change[] = [];
  readonly errors: unknown[] = [];
  readonly stopped: Promise<void>;
  private readonly registered = new Set<string>();
  private readonly replaced: Set<string>;
  /** Resources that are deleted, or would be in a preview, because a dependency is replaced. */
  private readonly mustReplace = new Set<string>();
  private readonly running = new Set<Promise<unknown>>();
  private stop: () => void = () => undefined;
  private stopping = false;

  constructor(private readonly settings: Settings) {
    this.replaced = new Set(settings.absent);
    this.stopped = new Promise((resolve) => {
      this.stop = resolve;
    });
  }

  /** Starts no new operations. Operations in progress finish and are saved. */
  fail(error: unknown): void {
    if (!this.errors.includes(error)) this.errors.push(error);
    this.stopping = true;
    this.stop();
  }

  async settle(): Promise<void> {
    while (this.running.size > 0) await Promise.allSettled(this.running);
  }

  private get state(): StackState {
    return this.settings.state;
  }

  /** Performs and records a change. An error names the resource and ends the run. */
  private async perform<T>(change: Change, work: () => Promise<T>): Promise<T> {
    if (this.stopping) return forever;
    this.changes.push(change);
    const done = this.settings.report(change);
    const running = work();
    this.running.add(running);
    try {
      const result = await running;
      this.running.delete(running);
      done?.();
      return result;
    } catch (error) {
      this.running.delete(running);
      this.fail(named(error, change));
      return forever;
    }
  }

  async register(goal: Goal): Promise<Registered> {
    if (this.stopping) return forever;
    try {
      return await this.step(goal);
    } catch (error) {
      this.fail(named(error, goal));
      return await forever;
    }
  }

  private async step(goal: Goal): Promise<Registered> {
    if (this.registered.has(goal.urn)) {
      throw new UserError(
        `The program declares two resources of type ${goal.type} named "${goal.name}": rename one.`,
      );
    }
    this.registered.add(goal.urn);
    const old = findOld(this.state.resources, goal, this.registered);
    if (!goal.custom) return this.component(goal, old);
    refuseUnknown(goal);
    const program = withoutIgnored(old?.inputs ?? {}, goal.inputs, old ? goal.ignoreChanges : []);
    const raw = plainMap(program);
    if (isProvider(goal.type)) return this.provider(goal, old, raw);

    await this.settings.providers.reach(goal);
    const autoNamed = raw.name === undefined;
    const news = await this.settings.providers.check(goal, old, raw);
    if (!old || old.id === undefined) {
      await this.settings.providers.plan(goal, news);
      const operation = this.mustReplace.has(goal.urn) ? "replace" : "create";
      return this.create(goal, news, change(operation, goal, [], {}, stored(goal, news)));
    }

    const own = await this.settings.providers.diff(old, news, autoNamed);
    const asked = this.settings.replace.has(goal.urn) ? ["(--replace)"] : [];
    const wanted = { ...own, replaces: [...own.replaces, ...asked] };
    const diff = widened(wanted, goal, old, this.replaced, this.mustReplace);
    const happening = (operation: Operation): Change =>
      change(operation, goal, diff.changed, old.inputs, stored(goal, news));
    if (diff.replaces.length > 0) {
      this.refuseProtected(old);
      // The new resource gets a new generated name, unless a name is given.
      const fresh = await this.settings.providers.check(goal, undefined, raw);
      return this.replace(goal, old, fresh, diff, happening("replace"));
    }
    if (diff.changed.length > 0) return this.update(goal, old, news, happening("update"));
    this.changes.push(happening("same"));
    this.put(entry(goal, old.id, stored(goal, news), old.outputs), old);
    return { id: old.id, outputs: old.outputs };
  }

  private component(goal: Goal, old: ResourceState | undefined): Registered {
    const made = change(old ? "same" : "create", goal, [], {}, {});
    this.changes.push(made);
    if (!old) this.settings.report(made);
    this.put(entry(goal, undefined, goal.inputs, old?.outputs ?? {}), old);
    return { id: "", outputs: {} };
  }

  private provider(goal: Goal, old: ResourceState | undefined, raw: WireMap): Registered {
    const changed = old
      ? Object.keys({ ...old.inputs, ...raw }).filter((k) => plainMap(old.inputs)[k] !== raw[k])
      : [];
    const operation = !old ? "create" : changed.length > 0 ? "update" : "same";
    const made = change(operation, goal, changed, old?.inputs ?? {}, goal.inputs);
    this.changes.push(made);
    if (operation !== "same") this.settings.report(made);
    const id = old?.id ?? randomUUID();
    this.put(entry(goal, id, goal.inputs, goal.inputs), old);
    return { id, outputs: goal.inputs };
  }

  private create(goal: Goal, news: WireMap, change: Change): Promise<Registered> {
    return this.perform(change, async () => {
      const inputs = stored(goal, news);
      // Outputs that only Docker knows are missing, so the program sees them as unknown.
      if (this.settings.dryRun) return { id: "", outputs: inputs };
      return this.made(goal, inputs, undefined, () => this.settings.providers.create(goal, news));
    });
  }

  private update(goal: Goal, old: ResourceState, news: WireMap, change: Change): Promise<Registered> {
    const id = old.id ?? "";
    return this.perform(change, async () => {
      const inputs = stored(goal, news);
      if (this.settings.dryRun) {
        // Docker's types keep their outputs on update; those of dynamic providers are unknown until it is done.
        const foreseen = /:(container|network|volume)[/:]/i.test(goal.type) ? old.outputs : {};
        return { id, outputs: { ...foreseen, ...inputs } };
      }
      return this.made(goal, inputs, old, async () => ({
        id,
        outputs: await this.settings.providers.update(goal, old, news),
      }));
    });
  }

  private async replace(
    goal: Goal,
    old: ResourceState,
    news: WireMap,
    diff: Diff,
    change: Change,
  ): Promise<Registered> {
    this.replaced.add(goal.urn);
    const first = diff.deleteBeforeReplace;
    if (first) {
      for (const dependent of await this.dependentsToReplace(goal.urn)) {
        this.refuseProtected(dependent);
        this.mustReplace.add(dependent.urn);
        if (!this.settings.dryRun) await this.removeForReplacement(dependent);
      }
    }
    return this.perform(change, async () => {
      const inputs = stored(goal, news);
      if (this.settings.dryRun) return { id: "", outputs: inputs };
      if (first) await this.remove(old);
      else await this.settings.providers.plan(goal, news);
      const made = await this.made(
        goal,
        inputs,
        undefined,
        () => this.settings.providers.create(goal, news),
        () => {
          if (!first) old.pendingDelete = true;
        },
      );
      return made;
    });
  }

  private removeForReplacement(old: ResourceState): Promise<void> {
    return this.perform({ ...deletion(old), ofReplacement: true }, () => this.remove(old));
  }

  private async made(
    goal: Goal,
    inputs: WireMap,
    old: ResourceState | undefined,
    work: () => Promise<{ id: string; outputs: WireMap }>,
    before: () => void = () => undefined,
  ): Promise<Registered> {
    const keep = (id: string, outputs: WireMap, initErrors?: string[]): Registered => {
      const kept = keepSecret(outputs, inputs, goal.additionalSecretOutputs);
      before();
      this.put({ ...entry(goal, id, inputs, kept), ...(initErrors && { initErrors }) }, old);
      this.settings.save();
      return { id, outputs: kept };
    };
    try {
      const { id, outputs } = await work();
      return keep(id, outputs);
    } catch (error) {
      if (error instanceof NotReady) keep(error.id, error.outputs, error.reasons);
      throw error;
    }
  }

  /** Dependents that must be replaced too: those that their provider replaces if the dependent property is unknown. */
  private async dependentsToReplace(urn: string, seen = new Set<string>()): Promise<ResourceState[]> {
    const found: ResourceState[] = [];
    for (const resource of this.state.resources) {
      if (
        resource.pendingDelete ||
        !resource.custom ||
        seen.has(resource.urn) ||
        this.mustReplace.has(resource.urn)
      )
        continue;
      const properties = Object.keys(resource.propertyDependencies).filter((key) =>
        resource.propertyDependencies[key]?.includes(urn),
      );
      if (properties.length === 0) continue;
      const unknown = Object.fromEntries(properties.map((key) => [key, UNKNOWN]));
      const news = { ...plainMap(resource.inputs), ...unknown };
      const diff = await this.settings.providers.diff(resource, news, false).catch(() => NO_DIFF);
      if (diff.replaces.length === 0) continue;
      seen.add(resource.urn);
      found.push(...(await this.dependentsToReplace(resource.urn, seen)), resource);
    }
    return found;
  }

  private put(made: ResourceState, old: ResourceState | undefined): void {
    const index = old ? this.state.resources.indexOf(old) : -1;
    if (index >= 0) this.state.resources[index] = made;
    else this.state.resources.push(made);
  }

  private drop(old: ResourceState): void {
    this.state.resources = this.state.resources.filter((r) => r !== old);
  }

  private async remove(old: ResourceState): Promise<void> {
    const holder = old.deletedWith;
    const goesWith = holder !== undefined && !this.registered.has(holder);
    if (old.custom && !isProvider(old.type) && !old.retainOnDelete && !goesWith && !this.settings.dryRun) {
      await this.settings.providers.delete(old);
    }
    if (this.settings.dryRun) return;
    this.drop(old);
    this.settings.save();
  }

  private refuseProtected(old: ResourceState): void {
    if (!old.protect || old.pendingDelete) return;
    throw new UserError(
      `"${nameOf(old.urn)}" is protected, but would be deleted: set its \`protect\` option to false and run \`up\` first.`,
    );
  }

  outputsOf(urn: string, outputs: WireMap): void {
    const resource = this.state.resources.find((r) => r.urn === urn && !r.pendingDelete);
    if (resource?.type === "pulumi:pulumi:Stack") this.state.outputs = outputs;
    else if (resource) resource.outputs = outputs;
  }

  /** Deletes what the program did not register, dependents first. */
  async removeRest(): Promise<void> {
    const rest = this.state.resources.filter((r) => r.pendingDelete || !this.registered.has(r.urn));
    try {
      rest.forEach((old) => {
        this.refuseProtected(old);
      });
    } catch (error) {
      this.fail(error);
      return;
    }
    const removed = dependentsFirst(rest, (old) => this.perform(deletion(old), () => this.remove(old)));
    await Promise.race([removed, this.stopped]);
    await this.settle();
  }
}
