/**
 * Starts the stack's machines that are off, for example since this computer was restarted, and waits for Docker on them. `script/up`
 * and `script/down` run it first and pass the stack's state on standard input: a refresh needs every node, and services are removed
 * over Docker.
 */
import { readFileSync } from "node:fs";

import { messageOf, reportOf, UserError } from "../../../lib/errors";
import { engineProvider } from "../../../providers/engine";
import { isOff, start, stateOf } from "./machine";

type EngineState = Parameters<NonNullable<typeof engineProvider.read>>[1];

interface Resource {
  readonly type: string;
  readonly urn: string;
  readonly id?: string;
  readonly outputs?: object;
  /** URN of the machine that the resource is on. */
  readonly deletedWith?: string;
}

/** A state of the embedded engine, or one that the Pulumi CLI exports. */
interface State {
  readonly resources?: readonly Resource[];
  readonly deployment?: { readonly resources?: readonly Resource[] };
}

/**
 * Starts all that it can.
 *
 * @throws UserError that names the machines that do not start, or whose Docker does not answer
 */
export async function startMachines({ resources, deployment }: State): Promise<void> {
  const all = resources ?? deployment?.resources ?? [];
  const startOne = async ({ urn, id = "" }: Resource): Promise<void> => {
    const state = await stateOf(id);
    if (state === undefined || !isOff(state)) return;
    console.error(`==> starting ${id}, which is off (${state})`);
    await start(id).catch((error: unknown) => {
      throw new Error(
        `Machine ${id} is off and does not start (${messageOf(error)}): correct that and run again`,
      );
    });
    const engines = all.filter(
      ({ type, deletedWith }) => type.endsWith(":DockerEngine") && deletedWith === urn,
    );
    try {
      for (const engine of engines)
        await engineProvider.read?.(engine.id ?? "", engine.outputs as EngineState);
    } catch (error) {
      throw new Error(`Machine ${id} was off, and is started: ${messageOf(error)}`, { cause: error });
    }
  };
  const machines = all.filter(({ type }) => type.endsWith(":VirtualBoxVm"));
  const outcomes = await Promise.allSettled(machines.map(startOne));
  const failures = outcomes.flatMap((outcome) =>
    outcome.status === "rejected" ? [messageOf(outcome.reason)] : [],
  );
  if (failures.length > 0) throw new UserError(failures.join("\n"));
}

if (require.main === module) {
  startMachines(JSON.parse(readFileSync(0, "utf8")) as State).catch((error: unknown) => {
    console.error(reportOf(error));
    process.exitCode = 1;
  });
}
