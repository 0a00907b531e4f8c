/** Exchanges the data of volumes while the services that use them are stopped, so that a later run can finish what was interrupted. */
import { messageOf, UserError } from "../lib/errors";
import { some } from "../lib/text";
import { isMapping, parseJson } from "../lib/values";
import { UnclearExchange, type BackupNode, type Exchanger, type Folder } from "./node";
import type { Services, User } from "./services";

export interface Exchange {
  readonly node: BackupNode;
  readonly exchanger: Exchanger;
  readonly services: Services;
  /** Docker's names of the volumes. */
  readonly volumes: readonly string[];
  readonly say: (line: string) => void;
}

/** The old data may be in the volumes beside only: they have to stay. */
export class OldDataBeside extends UserError {}

export const beside = (volume: string): string => `${volume}.restore`;
/** A volume that exists while another one and the one beside it are exchanged. */
const markOf = (volume: string): string => `${volume}.exchanging`;
/** The label of a mark: what is exchanged, by which a later run knows whether it happened. */
const identitiesLabel = "switchyard.exchange";

interface Mark {
  /** The folder with the new data. */
  readonly folder: string;
  readonly old: string;
  readonly new: string;
}

/**
 * Exchanges each volume with a folder of the one beside it. If the services do not start with the new data, they get the old back.
 *
 * @throws OldDataBeside if they do not
 */
export async function exchange(
  at: Exchange,
  users: readonly User[],
  folders: ReadonlyMap<string, string>,
): Promise<void> {
  const { node, exchanger, services, volumes } = at;
  const undo: (() => Promise<void>)[] = [];
  try {
    await services.stop(users, volumes);
    const pairs = volumes.map((volume) => ({
      volume,
      here: [volume, ""] as const,
      there: [beside(volume), folders.get(volume) ?? ""] as const,
    }));
    for (const { volume, here, there } of pairs) {
      const [before, after] = [await exchanger.identityOf(here), await exchanger.identityOf(there)];
      const mark: Mark = { folder: there[1], old: before, new: after };
      await node.volume(markOf(volume), { [identitiesLabel]: JSON.stringify(mark) });
    }
    for (const { here, there } of pairs) {
      await exchanger.exchange(here, there);
      undo.unshift(() => exchanger.exchange(here, there));
    }
  } catch (error) {
    await takeBack(at, users, undo, error);
    throw error;
  }
  await prove(at, users, undo);
}

/** Starts the services with the new data. If they do not run, they get the old back. */
async function prove(
  at: Exchange,
  users: readonly User[],
  undo: readonly (() => Promise<void>)[],
): Promise<void> {
  try {
    await at.services.start(users);
  } catch (error) {
    await takeBack(at, users, undo, error);
    throw error;
  }
  await unmark(at);
}

async function takeBack(
  at: Exchange,
  users: readonly User[],
  undo: readonly (() => Promise<void>)[],
  cause: unknown,
): Promise<void> {
  const { services, volumes, say } = at;
  const place = some(volumes.map((volume) => `volume ${beside(volume)}`));
  let worse: unknown = cause instanceof UnclearExchange ? cause : undefined;
  if (worse === undefined && undo.length > 0)
    try {
      say("putting the old data back");
      await services.stop(users, volumes);
      for (const each of undo) await each();
    } catch (error) {
      worse = error;
    }
  const tell = (error: unknown) => {
    say(messageOf(error));
  };
  await services.start(users).catch(tell);
  // A mark that stays only makes the next run look: the old data is in place.
  if (worse === undefined) await unmark(at).catch(tell);
  if (worse !== undefined)
    throw new OldDataBeside(
      `${messageOf(worse)}: the old data is in place, or in ${place}. Run script/restore again, which finds out and goes on`,
    );
}

async function unmark({ node, volumes }: Exchange): Promise<void> {
  for (const volume of volumes) await node.removeVolume(markOf(volume));
}

/** What a run has left that was killed while it exchanged data. */
export interface Earlier {
  /** The folders that it has exchanged. If there are any, finishing it may put the old data back. */
  readonly exchanged: readonly { readonly here: Folder; readonly there: Folder }[];
}

/**
 * What an earlier run has left to finish; undefined: nothing. Changes nothing.
 *
 * @throws UserError if it cannot be known what has been exchanged
 */
export async function findEarlier(at: Exchange, users: readonly User[]): Promise<Earlier | undefined> {
  const { node, exchanger, volumes } = at;
  const exchanged: { readonly here: Folder; readonly there: Folder }[] = [];
  let isMarked = false;
  for (const volume of volumes) {
    const labels = await node.labelsOf(markOf(volume));
    if (labels === undefined) continue;
    isMarked = true;
    const mark = readMark(labels[identitiesLabel]);
    const here = [volume, ""] as const;
    const present = await exchanger.identityOf(here);
    if (mark !== undefined && present === mark.new)
      exchanged.push({ here, there: [beside(volume), mark.folder] });
    else if (present !== mark?.old)
      throw new UserError(
        `An earlier restore was interrupted while it exchanged the data of volume ${volume}: volume ${beside(volume)} on node ${node.node.name} may be all that is left of the old data. ` +
          `Look at both, then remove what is not needed: docker volume rm ${markOf(volume)} ${beside(volume)}`,
      );
  }
  return isMarked || users.some(({ held }) => held) ? { exchanged } : undefined;
}

/**
 * Finishes what a run did that was killed while it exchanged data: either all volumes have the new data and the services run with
 * it, or all have the old.
 */
export async function finishEarlier(
  at: Exchange,
  users: readonly User[],
  { exchanged }: Earlier,
): Promise<void> {
  const { exchanger, services, volumes, say } = at;
  say("finishing an earlier restore, which was interrupted");
  const undo = exchanged.map(
    ({ here, there }) =>
      () =>
        exchanger.exchange(here, there),
  );
  if (exchanged.length === volumes.length) {
    await prove(at, users, undo).catch((error: unknown) => {
      if (error instanceof OldDataBeside) throw error;
      say(messageOf(error));
    });
    return;
  }
  if (exchanged.length > 0) {
    await services.stop(users, volumes);
    for (const each of undo) await each();
  }
  // Data with which they do not run may be why it is to be replaced.
  await services.release(users);
  await unmark(at);
}

function readMark(text = ""): Mark | undefined {
  const { folder, old, new: after } = mappingOf(parseJson(text));
  return typeof folder === "string" && typeof old === "string" && typeof after === "string"
    ? { folder, old, new: after }
    : undefined;
}

const mappingOf = (value: unknown): Readonly<Record<string, unknown>> => (isMapping(value) ? value : {});
