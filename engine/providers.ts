/** One interface for all providers: those of Docker's types and the program's own dynamic ones. */
import { type Diff, NO_DIFF } from "./diff";
import type { Context, Handler, Made } from "./docker/handler";
import { Hosts, PROVIDER_INPUTS } from "./docker/client";
import { container } from "./docker/container";
import { STACK_LABEL, URN_LABEL } from "./docker/handler";
import { image } from "./docker/image";
import { network } from "./docker/network";
import { volume } from "./docker/volume";
import type { DynamicProviders } from "./dynamic";
import { UserError } from "../lib/errors";
import type { Goal } from "./goal";
import { nameOf, type ResourceState } from "./state";
import { keepSecret, plainMap, type WireMap } from "./wire";

/** Stacks of earlier versions have some. Their images stay, as they asked. */
const formerImage: Handler = {
  inputs: [],
  diff: () => NO_DIFF,
  create: () => Promise.reject(new Error("is no longer created")),
  delete: () => Promise.resolve(),
  refresh: () => Promise.resolve([]),
};

const HANDLERS: Record<string, Handler> = {
  "docker:index/remoteImage:RemoteImage": formerImage,
  "docker:index/container:Container": container,
  "docker:index/network:Network": network,
  "docker:index/volume:Volume": volume,
  "docker:index/image:Image": image,
};
export const DOCKER_PROVIDER = "pulumi:providers:docker";
const DYNAMIC = /^pulumi-nodejs:dynamic(\/[^:]+)?:/;

export const isDynamic = (type: string): boolean => DYNAMIC.test(type);
export const isProvider = (type: string): boolean => type.startsWith("pulumi:providers:");

export function refuseUnknown({ type, name, inputs }: Goal): void {
  if (isDynamic(type)) return;
  const known = type === DOCKER_PROVIDER ? [...PROVIDER_INPUTS, "version"] : HANDLERS[type]?.inputs;
  if (!known) {
    throw new UserError(
      `"${name}" has the type ${type}, which the embedded engine does not support: use the Pulumi CLI (ENGINE=pulumi).`,
    );
  }
  const unknown = Object.keys(inputs).filter((key) => !known.includes(key));
  if (unknown.length > 0) {
    throw new UserError(
      `"${name}" (${type}): the embedded engine does not support \`${unknown.join("`, `")}\`: remove it, or use the Pulumi CLI (ENGINE=pulumi).`,
    );
  }
}

export interface World {
  readonly stack: string;
  /** Inputs of the provider with this URN, or of the default provider. */
  readonly providerInputs: (urn: string | undefined) => WireMap;
  readonly inState: (id: string) => boolean;
  readonly say: (urn: string, line: string) => void;
}

/** A copy of a resource's state with unwrapped secrets. A copy, because providers may modify it. */
const opened = (old: ResourceState): ResourceState => ({
  ...old,
  inputs: plainMap(old.inputs),
  outputs: plainMap(old.outputs),
});

export class Providers {
  private readonly hosts = new Hosts();

  constructor(
    private readonly world: World,
    private readonly dynamics: DynamicProviders,
  ) {}

  private handler(type: string): Handler {
    const handler = HANDLERS[type];
    if (!handler)
      throw new UserError(
        `The embedded engine does not support the type ${type}: use the Pulumi CLI (ENGINE=pulumi).`,
      );
    return handler;
  }

  private async context(urn: string, provider: string | undefined): Promise<Context | undefined> {
    const host = await this.hosts.get(this.world.providerInputs(provider));
    if (!host) return undefined;
    return {
      docker: host.docker,
      host: host.name,
      name: nameOf(urn),
      urn,
      ownLabels: { [STACK_LABEL]: this.world.stack, [URN_LABEL]: urn },
      inState: this.world.inState,
      say: (line) => {
        this.world.say(urn, line);
      },
    };
  }

  private async known(urn: string, provider: string | undefined): Promise<Context> {
    const context = await this.context(urn, provider);
    if (!context) throw new Error("the provider's host is not known");
    return context;
  }

  async check(goal: Goal, old: ResourceState | undefined, news: WireMap): Promise<WireMap> {
    const olds = old && plainMap(old.inputs);
    if (isDynamic(goal.type)) return this.dynamics.check(goal.name, olds ?? {}, news);
    return (await this.handler(goal.type).check?.(goal, olds, news)) ?? news;
  }

  async diff(old: ResourceState, news: WireMap, autoNamed: boolean): Promise<Diff> {
    if (isProvider(old.type)) return NO_DIFF;
    if (isDynamic(old.type)) return this.dynamics.diff(opened(old), news);
    return this.handler(old.type).diff(plainMap(old.inputs), news, autoNamed);
  }

  /** Fails if the Docker host does not answer. Otherwise a plan would report no changes there. */
  async reach(goal: Goal): Promise<void> {
    if (!isDynamic(goal.type)) await this.context(goal.urn, goal.provider);
  }

  async plan(goal: Goal, news: WireMap): Promise<void> {
    if (isDynamic(goal.type)) return;
    const context = await this.context(goal.urn, goal.provider);
    if (context) await this.handler(goal.type).plan?.(context, news);
  }

  async create(goal: Goal, news: WireMap): Promise<Made> {
    if (isDynamic(goal.type)) return this.dynamics.create(news);
    return this.handler(goal.type).create(await this.known(goal.urn, goal.provider), news);
  }

  async update(goal: Goal, old: ResourceState, news: WireMap): Promise<WireMap> {
    if (isDynamic(goal.type)) return this.dynamics.update(opened(old), news);
    const context = await this.known(goal.urn, goal.provider);
    return (await this.handler(goal.type).update?.(context, opened(old), news)) ?? news;
  }

  async delete(old: ResourceState): Promise<void> {
    if (isDynamic(old.type)) await this.dynamics.delete(opened(old));
    else await this.handler(old.type).delete(await this.known(old.urn, old.provider), opened(old));
  }

  /** The state updated from the real resource; undefined if the resource is gone. */
  async refresh(old: ResourceState): Promise<ResourceState | undefined> {
    if (isDynamic(old.type)) {
      const seen = await this.dynamics.read(opened(old));
      if (!seen) return undefined;
      const { outputs, inputs } = seen;
      return {
        ...old,
        outputs: keepSecret(outputs, old.outputs),
        inputs: inputs ? keepSecret(inputs, old.inputs) : old.inputs,
      };
    }
    const drift = await this.handler(old.type).refresh(await this.known(old.urn, old.provider), opened(old));
    return drift && { ...old, drift };
  }
}
