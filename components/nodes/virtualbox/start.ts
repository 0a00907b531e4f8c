/**
 * Starts the stack's machines that are off, for example since this computer was restarted, and waits for Docker on them. `script/up`
 * runs it first and passes the stack's state on standard input, because a refresh needs every node.
 */
import { readFileSync } from "node:fs";

import { reportOf } from "../../../lib/errors";
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

export async function startMachines({ resources, deployment }: State): Promise<void> {
  const all = resources ?? deployment?.resources ?? [];
  const startOne = async ({ urn, id = "" }: Resource): Promise<void> => {
    const state = await stateOf(id);
    if (state === undefined || !isOff(state)) return;
    console.error(`==> starting ${id}, which is off (${state})`);
    await start(id);
    const engines = all.filter(
      ({ type, deletedWith }) => type.endsWith(":DockerEngine") && deletedWith === urn,
    );
    for (const engine of engines) await engineProvider.read?.(engine.id ?? "", engine.outputs as EngineState);
  };
  await Promise.all(all.filter(({ type }) => type.endsWith(":VirtualBoxVm")).map(startOne));
}

if (require.main === module) {
  startMachines(JSON.parse(readFileSync(0, "utf8")) as State).catch((error: unknown) => {
    console.error(reportOf(error));
    process.exitCode = 1;
  });
}
