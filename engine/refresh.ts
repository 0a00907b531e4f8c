/** Compares the state with the real resources. */
import { MachineError, messageOf, UserError } from "../lib/errors";
import { Unreachable } from "./docker/client";
import { goneLine, notAskedLine } from "./print";
import { isProvider } from "./providers";
import { nameOf, type ResourceState } from "./state";
import { some, type Wire } from "./wire";

interface Refreshed {
  readonly resources: ResourceState[];
  readonly gone: ResourceState[];
  /** URNs of what is gone, and of machines that a failed replacement has left out of the state. */
  readonly absent: ReadonlySet<string>;
}

/**
 * Reads the real resources. Those on a machine that cannot be asked are kept as they are: the program may replace or remove the
 * machine, and fails if it needs it.
 *
 * @param read returns the resource as it is; undefined if it is gone
 * @throws UserError if another resource cannot be read
 */
export async function refreshed(
  all: readonly ResourceState[],
  read: (old: ResourceState) => Promise<ResourceState | undefined>,
  say: (line: string) => void,
): Promise<Refreshed> {
  const found = new Map<ResourceState, ResourceState | undefined>();
  const isGone = (old: ResourceState) => found.has(old) && found.get(old) === undefined;
  /** Machines that cannot be asked, and the URLs of their engines. */
  const silent = { machines: new Set<string>(), hosts: new Set<Wire>() };
  const isSilent = (host: Wire) => silent.hosts.has(host);

  const look = async (old: ResourceState): Promise<undefined> => {
    if (!old.custom || isProvider(old.type) || old.pendingDelete) return;
    try {
      found.set(old, await read(old));
      if (isGone(old)) say(goneLine({ type: old.type, name: nameOf(old.urn) }));
    } catch (error) {
      // The program may use another host now. If not, the plan fails for this host.
      if (error instanceof Unreachable) return;
      // It asks several machines.
      if (old.outputs.host === undefined && some(old.outputs, isSilent)) return;
      if (error instanceof UserError) throw error;
      throw new UserError(`"${nameOf(old.urn)}" cannot be read: ${messageOf(error)}`, { cause: error });
    }
  };
  const isAbsent = (machine: string) => all.every((old) => old.urn !== machine || isGone(old));
  const lookAtEngine = async (engine: ResourceState, machine: string): Promise<void> => {
    const reason = isAbsent(machine)
      ? "its machine no longer exists"
      : await look(engine).catch((error: unknown) => {
          const cause = error instanceof Error ? error.cause : undefined;
          if (!(cause instanceof MachineError)) throw error;
          return cause.message;
        });
    if (reason === undefined) return;
    say(notAskedLine(nameOf(engine.urn), reason));
    silent.machines.add(machine);
    silent.hosts.add(engine.outputs.host ?? "");
  };

  // Machines come first, and then their engines, which may have to boot.
  const engines = all.flatMap((engine) =>
    engine.type.endsWith(":DockerEngine") && !engine.pendingDelete && engine.deletedWith !== undefined
      ? [{ engine, machine: engine.deletedWith }]
      : [],
  );
  const machines = all.filter(({ urn }) => engines.some(({ machine }) => machine === urn));
  await Promise.all(machines.map(look));
  await Promise.all(engines.map(({ engine, machine }) => lookAtEngine(engine, machine)));
  const first = new Set([...machines, ...engines.map(({ engine }) => engine)]);
  const isKept = ({ deletedWith = "", outputs }: ResourceState) =>
    silent.machines.has(deletedWith) || isSilent(outputs.host ?? null);
  await Promise.all(all.filter((old) => !first.has(old) && !isKept(old)).map(look));
  const gone = all.filter(isGone);
  return {
    resources: all.filter((old) => !isGone(old)).map((old) => found.get(old) ?? old),
    gone,
    absent: new Set([
      ...gone.map(({ urn }) => urn),
      ...engines.map(({ machine }) => machine).filter(isAbsent),
    ]),
  };
}
