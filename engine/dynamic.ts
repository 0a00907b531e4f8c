/** Runs dynamic providers as Pulumi's own server does (@pulumi/pulumi/cmd/dynamic-provider). */
import { createRequire } from "node:module";
import path from "node:path";
import vm from "node:vm";
import { Config } from "@pulumi/pulumi/cmd/dynamic-provider/config";
import type * as dynamic from "@pulumi/pulumi/dynamic";
import { changedKeys, type Diff, NO_DIFF } from "./diff";
import { UserError } from "../lib/errors";
import type { ResourceState } from "./state";
import { UNKNOWN, type WireMap } from "./wire";

/** The SDK's type, with JSON instead of `any`. */
type Provider = dynamic.ResourceProvider<WireMap, WireMap>;

const PROVIDER = "__provider";

/** A resource was created but did not become ready. The state keeps it with the reasons. */
export class NotReady extends Error {
  constructor(
    message: string,
    readonly id: string,
    readonly outputs: WireMap,
    readonly reasons: string[],
  ) {
    super(message);
  }
}

interface Thrown {
  message?: string;
  id?: string;
  properties?: WireMap;
  reasons?: string[];
}

function notReady(error: unknown, props: WireMap): unknown {
  const { message, id, properties, reasons } = error as Thrown;
  if (!id) return error;
  return new NotReady(message ?? "", id, withProvider(properties, props), reasons ?? []);
}

const withProvider = (result: unknown, props: WireMap): WireMap => ({
  ...((result ?? {}) as WireMap),
  [PROVIDER]: props[PROVIDER] ?? "",
});

/** Converts a provider's result to JSON, as if it had come over the wire. */
const clean = (value: WireMap): WireMap => JSON.parse(JSON.stringify(value)) as WireMap;

export class DynamicProviders {
  private readonly cache = new Map<string, Promise<Provider>>();

  constructor(
    private readonly project: string,
    private readonly config: Record<string, string>,
  ) {}

  private get(props: WireMap): Promise<Provider> {
    const code = props[PROVIDER];
    if (typeof code !== "string") throw new Error("the resource's serialized provider is missing");
    let provider = this.cache.get(code);
    if (!provider) {
      provider = this.load(code);
      this.cache.set(code, provider);
    }
    return provider;
  }

  private async load(code: string): Promise<Provider> {
    const file = path.resolve("__provider.js");
    const module = { exports: {} as { handler?: () => Provider } };
    const wrapped = vm.runInThisContext(
      `(function (exports, require, module, __filename, __dirname) {${code}\n})`,
      {
        filename: file,
      },
    ) as (...args: unknown[]) => void;
    wrapped(module.exports, createRequire(file), module, file, path.dirname(file));
    const provider = module.exports.handler?.();
    if (!provider) throw new Error("the serialized provider exports no handler");
    await provider.configure?.({ config: new Config(this.config, this.project) });
    return provider;
  }

  private forNews(olds: WireMap, news: WireMap): Promise<Provider> {
    return this.get(news[PROVIDER] === UNKNOWN ? olds : news);
  }

  async check(name: string, olds: WireMap, news: WireMap): Promise<WireMap> {
    const provider = await this.forNews(olds, news);
    if (!provider.check) return news;
    const { inputs, failures } = await provider.check(olds, news);
    if (failures && failures.length > 0) {
      const reasons = failures.map((f) => (f.property === "" ? f.reason : `${f.property}: ${f.reason}`));
      const isWhole = failures.every((f) => f.property === "");
      throw new UserError(`"${name}"${isWhole ? "" : " has invalid properties"}: ${reasons.join("; ")}`);
    }
    return clean({ ...(inputs ?? news), [PROVIDER]: news[PROVIDER] ?? "" });
  }

  /** Interprets the result as Pulumi's engine does: `replaces` counts only with `changes`; without `changes`, inputs decide. */
  async diff(old: ResourceState, news: WireMap): Promise<Diff> {
    const provider = await this.forNews(old.outputs, news);
    const own = await provider.diff?.(old.id ?? "", old.outputs, news);
    const changed = changedKeys(old.inputs, news);
    if (!(own?.changes ?? changed.length > 0)) return NO_DIFF;
    const replaces = own?.replaces ?? [];
    const all = [...new Set([...changed, ...replaces])].sort();
    return {
      changed: all.length > 0 ? all : ["(reported by its provider)"],
      replaces,
      deleteBeforeReplace: own?.deleteBeforeReplace ?? false,
    };
  }

  async create(news: WireMap): Promise<{ id: string; outputs: WireMap }> {
    const provider = await this.get(news);
    try {
      const { id, outs } = await provider.create(news);
      return { id, outputs: clean(withProvider(outs, news)) };
    } catch (error) {
      throw notReady(error, news);
    }
  }

  async update(old: ResourceState, news: WireMap): Promise<WireMap> {
    const provider = await this.get(news);
    try {
      const result = await provider.update?.(old.id ?? "", old.outputs, news);
      return clean(withProvider(result?.outs, news));
    } catch (error) {
      throw notReady(error, news);
    }
  }

  async delete(old: ResourceState): Promise<void> {
    const provider = await this.get(old.outputs);
    await provider.delete?.(old.id ?? "", old.outputs);
  }

  /** Undefined if the resource is gone; the current state if the provider has no `read`. */
  async read(old: ResourceState): Promise<{ outputs: WireMap; inputs?: WireMap } | undefined> {
    const provider = await this.get(old.outputs);
    if (!provider.read) return { outputs: old.outputs };
    const { id, props, inputs } = await provider.read(old.id ?? "", old.outputs);
    if (!id) return undefined;
    const outputs = clean(withProvider(props, old.outputs));
    return inputs ? { outputs, inputs: clean(withProvider(inputs, old.inputs)) } : { outputs };
  }
}
