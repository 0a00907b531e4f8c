/**
 * Replaces a container by another one on the same network and with the same volumes. Both run for a moment: the new one asks
 * the old one for its listening sockets, and the old one then ends by itself as soon as its last connection has.
 */
import type Docker from "dockerode";
import { messageOf } from "../../lib/errors";
import { api, dockerCommand } from "../client";
import { OWNER_LABEL, ownerOf } from "../owner";
import {
  find,
  isHealthy,
  lastWords,
  remove,
  rename,
  restart,
  setRestartPolicy,
  start,
  stop,
  waitFor,
  withLabel,
  type Details,
  type Listed,
} from "../containers";
import { CLAIM_LABEL, definitionOf, HANDOVER_LABEL, type ContainerInputs } from "./inputs";

export interface RollInputs extends ContainerInputs {
  readonly host: string;
  readonly waitTimeoutSeconds?: number;
}

/** How long to wait for an old container to end, so that usually none is left. */
const DRAIN_TIMEOUT_MS = 5_000;
/** How long an old container may take to serve again after a failure, which its next health check shows. */
const RESUME_TIMEOUT_MS = 20_000;

const nextName = ({ name }: ContainerInputs) => `${name}-next`;
const oldPrefix = ({ name }: ContainerInputs) => `${name}-old-`;
const labelOf = ({ Config }: Details, label: string) => Config.Labels?.[label];
const handsOver = (container: Details) => labelOf(container, HANDOVER_LABEL) === "1";

/**
 * Starts a container with this definition in place of the one with its name, if there is one, and returns its ID.
 *
 * @throws Error if the name is somebody else's, or if the new container does not get healthy; the old one then goes on
 */
export async function roll(docker: Docker, inputs: RollInputs, claim: string): Promise<string> {
  const old = await present(docker, inputs, claim);
  const id = await create(docker, inputs, claim);
  try {
    if (old !== undefined)
      await (handsOver(old) ? setRestartPolicy(docker, old.Id, "no") : stop(docker, old.Id));
    await start(docker, id);
    await becomeHealthy(docker, id, inputs);
  } catch (error) {
    const words = await lastWords(docker, id);
    await remove(docker, id);
    const outcome = old === undefined ? "" : `. ${await resume(docker, inputs, old).catch(messageOf)}`;
    throw new Error(`${messageOf(error)}${outcome}${words && `. ${words}`}`, { cause: error });
  }
  await takeName(docker, inputs, id, old);
  if (old !== undefined && handsOver(old)) {
    await waitFor(docker, old.Id, DRAIN_TIMEOUT_MS, (container) => container?.State.Running !== true);
  }
  return id;
}

/** The owner's containers of the resource: the one with the name, and those of unfinished rolls. */
export async function containersOf(docker: Docker, inputs: ContainerInputs): Promise<Listed[]> {
  const isName = (name: string) =>
    [inputs.name, nextName(inputs)].includes(name) || name.startsWith(oldPrefix(inputs));
  const all = await withLabel(docker, OWNER_LABEL, ownerOf(inputs));
  return all.filter(({ Names }) => Names.some((name) => isName(name.slice(1))));
}

/** Removes old containers that have ended. Pulumi deletes that of an earlier version, which is still in its state. */
export async function sweep(docker: Docker, inputs: ContainerInputs): Promise<void> {
  for (const { Id, Names, Labels, State } of await containersOf(docker, inputs)) {
    const isOld = Names.some((name) => name.startsWith(`/${oldPrefix(inputs)}`));
    if (isOld && State === "exited" && Labels[CLAIM_LABEL] !== undefined) await remove(docker, Id);
  }
}

/** The container with the name, after what an interrupted run has begun is finished or undone. */
async function present(docker: Docker, inputs: RollInputs, claim: string): Promise<Details | undefined> {
  const old = await find(docker, inputs.name);
  if (old !== undefined) refuseForeign(inputs, claim, old);
  const next = await find(docker, nextName(inputs));
  if (next === undefined) return old;
  refuseForeign(inputs, claim, next);
  // It may serve already, and nothing else.
  const failure = await becomeHealthy(docker, next.Id, inputs).then(() => undefined, messageOf);
  if (failure === undefined) {
    await takeName(docker, inputs, next.Id, old);
    return find(docker, next.Id);
  }
  await remove(docker, next.Id);
  if (old !== undefined) await resume(docker, inputs, old);
  return old;
}

/** Throws if the container is neither this stack's nor one of an earlier version, which is known by a volume that both have. */
function refuseForeign(inputs: RollInputs, claim: string, container: Details): void {
  const owner = labelOf(container, OWNER_LABEL);
  if (owner === ownerOf(inputs) || labelOf(container, CLAIM_LABEL) === claim) return;
  const volumes = (inputs.volumes ?? []).filter(({ volumeName }) => volumeName !== undefined);
  const isMounted = ({ volumeName, containerPath }: (typeof volumes)[number]) =>
    container.Mounts.some(({ Name, Destination }) => Name === volumeName && Destination === containerPath);
  // The embedded engine labelled its containers with their stack, the Pulumi CLI did not.
  const stack = labelOf(container, "switchyard.stack") ?? ownerOf(inputs);
  const isEarlier = owner === undefined && stack === ownerOf(inputs);
  if (isEarlier && volumes.some(isMounted)) return;
  const name = container.Name.slice(1);
  const whose = owner ?? (isEarlier ? undefined : stack);
  throw new Error(
    `A container named ${name} exists on ${inputs.host} and belongs to ` +
      `${whose === undefined ? "no stack of Switchyard" : `stack ${whose}`}, not to ${ownerOf(inputs)}. ` +
      `Rename it (${dockerCommand(inputs, `rename ${name} NAME`)}), or remove it (${dockerCommand(inputs, `rm -f ${name}`)})`,
  );
}

async function create(docker: Docker, inputs: RollInputs, claim: string): Promise<string> {
  try {
    const query = { name: nextName(inputs) };
    const body = definitionOf(inputs, claim);
    return (await api<{ Id: string }>(docker, "POST", "/containers/create", { query, body })).Id;
  } catch (error) {
    throw new Error(`Docker rejected container ${inputs.name}: ${messageOf(error)}`, { cause: error });
  }
}

/** Waits until the container is healthy; without a health check, that is when it runs. */
async function becomeHealthy(docker: Docker, id: string, inputs: RollInputs): Promise<void> {
  const seconds = inputs.waitTimeoutSeconds ?? 120;
  const healthy = await waitFor(docker, id, seconds * 1000, (container) => {
    if (container === undefined)
      throw new Error(`Container ${inputs.name} was removed while it was starting`);
    const { RestartCount, State } = container;
    if (isHealthy(container)) return true;
    if (State.Running && RestartCount === 0) return false;
    // Docker forgets the exit code of a container that it has started again.
    const code = State.Running ? "" : ` with exit code ${State.ExitCode}`;
    throw new Error(`The new container ${inputs.name} ended${code}`);
  });
  if (!healthy) throw new Error(`The new container ${inputs.name} was not healthy within ${seconds} s`);
}

/** Makes the old container serve again when the new one has failed, and says how that went. */
async function resume(docker: Docker, inputs: RollInputs, old: Details): Promise<string> {
  await setRestartPolicy(docker, old.Id, inputs.restart);
  const before = (await find(docker, old.Id))?.State;
  if (before?.Running !== true) {
    await start(docker, old.Id);
    return "The old container was started again";
  }
  // It has handed over, or was about to. The result of a check from before does not count.
  const since = before.Health?.Log?.at(-1)?.Start ?? "";
  const serves = await waitFor(docker, old.Id, RESUME_TIMEOUT_MS, (container) => {
    if (container?.State.Running !== true) return false;
    const { Health } = container.State;
    return (
      Health?.Log?.some(({ Start, ExitCode }) => Start > since && ExitCode === 0) ?? Health === undefined
    );
  });
  if (serves) return "The old container goes on serving";
  await restart(docker, old.Id);
  return "The old container was restarted";
}

async function takeName(
  docker: Docker,
  inputs: RollInputs,
  id: string,
  old: Details | undefined,
): Promise<void> {
  if (old !== undefined) await rename(docker, old.Id, `${oldPrefix(inputs)}${old.Id.slice(0, 12)}`);
  await rename(docker, id, inputs.name);
}
