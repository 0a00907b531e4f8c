/** Carries out decisions: records of services that sleep first, then replicas. */
import { messageOf } from "../../../../lib/errors";
import { scalingKeys } from "../../../../routing/scaling/keys";
import { encodeSleeping } from "../../../../routing/scaling/sleeping";
import { reasonSentence } from "../horizontal/reasons";
import type { Decision } from "../horizontal/types";
import type { Registration } from "../swarm/types";
import type { History } from "./history";
import type { LeaderOptions } from "./options";
import type { Observations, Observed } from "./observe";
import { sleepSteps } from "./sleeping";
import type { World } from "./world";

export interface Plan extends LeaderOptions {
  readonly world: World;
  readonly observations: Observations;
  readonly decisions: ReadonlyMap<string, Decision>;
  /** The lowest of Consul's indexes that load balancers had in force at the tick before. */
  readonly inForce: number;
}

/** Docker makes one change of its state after the other: more at once would only wait there. */
const mostAtOnce = 8;

/** @returns the services whose number of replicas was changed */
export async function execute(plan: Plan, history: History): Promise<ReadonlySet<string>> {
  const changed = new Set<string>();
  const { observations, decisions, dry } = plan;
  const queue = observations.scaled.flatMap((service) => {
    const decision = decisions.get(service.name);
    return decision === undefined ? [] : [{ service, decision }];
  });
  if (dry) {
    for (const { service, decision } of queue) pretend(plan, service, decision, history);
    return changed;
  }
  await forgetStrangers(plan);
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift())
      if (await one(plan, next.service, next.decision, history)) changed.add(next.service.name);
  };
  await Promise.all(Array.from({ length: mostAtOnce }, work));
  return changed;
}

function pretend({ log }: Plan, { name }: Observed, decision: Decision, history: History): void {
  const { from, to } = decision;
  if (from === to || history.isSame(name, decision)) return;
  history.changed(name, decision, new Date());
  log(`would scale ${name} from ${from} to ${to}: ${reasonSentence(decision)}`);
}

/** A service's failure stays its own. */
async function one(plan: Plan, service: Observed, decision: Decision, history: History): Promise<boolean> {
  const { log } = plan;
  const { name } = service;
  const before = history.failure(name);
  try {
    return await change(plan, service, decision, history);
  } catch (error) {
    const why = `cannot be scaled from ${decision.from} to ${decision.to}: ${messageOf(error)}`;
    history.failed(name, why);
    if (why !== before) log(`${name} ${why}`);
    return false;
  }
}

/** @returns whether the number of replicas was changed */
async function change(plan: Plan, service: Observed, decision: Decision, history: History): Promise<boolean> {
  const { world, consul, swarm, isLeading, log } = plan;
  const { name, replicas, ready, wanted } = service;
  const record = world.sleeping.get(name);
  const known = world.consul.byName.get(name);
  const steps = sleepSteps(
    {
      decision,
      replicas,
      ready,
      record: record?.index,
      served: known?.index ?? Infinity,
      wanted,
      isRouted: service.swarm.registration !== undefined,
    },
    plan.inForce,
  );
  const asked = world.wanted.get(name);
  if (!isLeading()) return false;
  if (steps.write) {
    const registration = known?.registration ?? service.swarm.registration;
    if (registration !== undefined) await writeRecord(plan, name, registration);
  }
  if (steps.forget && record !== undefined) {
    await consul.deleteKey(scalingKeys.sleeping + name, record.index);
    log(`${name} is awake, with ${ready} ready`);
  }
  if (steps.answered && asked !== undefined) await consul.deleteKey(scalingKeys.wanted + name, asked.index);
  const { from, to, kind } = decision;
  if (from === to) {
    // What the service should have, it has.
    if (decision.wish === to) history.settled(name);
    return false;
  }
  if (!steps.scale || !isLeading()) return false;
  // A change now would make Docker forget what to roll back to.
  if (service.swarm.updating && kind !== "wake") {
    history.failed(name, "is being updated by Docker; scaled afterwards");
    return false;
  }
  await swarm.rescale(service.swarm.id, { version: service.swarm.version, replicas: to });
  history.changed(name, decision, new Date());
  log(`scaled ${name} from ${from} to ${to}: ${reasonSentence(decision)}`);
  return true;
}

async function writeRecord({ consul, log }: Plan, name: string, registration: Registration): Promise<void> {
  await consul.putKey(scalingKeys.sleeping + name, encodeSleeping(registration));
  log(`${name} has had no request; its routes are kept while it sleeps`);
}

/** Deletes what is left of services that are gone. */
async function forgetStrangers({ world, observations, consul, isLeading }: Plan): Promise<void> {
  const { scaled, unscaled } = observations;
  const known = new Set([...scaled, ...unscaled].map(({ name }) => name));
  for (const [prefix, entries] of [
    [scalingKeys.sleeping, world.sleeping],
    [scalingKeys.wanted, world.wanted],
  ] as const)
    for (const [name, { index }] of entries)
      if (!known.has(name) && isLeading()) await consul.deleteKey(prefix + name, index);
}
