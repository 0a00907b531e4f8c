/** Exchanges the data of volumes while the services that use them are stopped, so that a later run can finish what was interrupted. */
import { restoreSuffixes } from "../components/config/volumes";
import { messageOf, UserError } from "../lib/errors";
import { some } from "../lib/text";
import { isMapping, parseJson } from "../lib/values";
import { UnclearExchange, type BackupNode, type Exchanger, type Folder } from "./node";
import { stoppedOf, type Services, type User } from "./services";

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

export const beside = (volume: string): string => `${volume}${restoreSuffixes.beside}`;
/** The volume that exists while others are exchanged, named after the first of them. */
const markOf = (volumes: readonly string[]): string => `${volumes[0] ?? ""}${restoreSuffixes.mark}`;
/** The label of a mark: what is exchanged, by which a later run knows whether it happened. */
export const exchangeLabel = "switchyard.exchange";

/** What is exchanged of a volume. */
interface Marked {
  readonly volume: string;
  /** The folder with the new data, in the volume beside. */
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
    const mark: Marked[] = [];
    for (const { volume, here, there } of pairs) {
      const [before, after] = [await exchanger.identityOf(here), await exchanger.identityOf(there)];
      mark.push({ volume, folder: there[1], old: before, new: after });
    }
    // A single mark: a run that is killed leaves either all of it or nothing.
    await node.freshVolume(markOf(volumes), { [exchangeLabel]: JSON.stringify(mark) });
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
  let worse: unknown = cause instanceof UnclearExchange ? cause : undefined;
  let isMixed = worse !== undefined;
  if (worse === undefined && undo.length > 0)
    try {
      say("putting the old data back");
      await services.stop(users, volumes);
      isMixed = true;
      for (const each of undo) await each();
    } catch (error) {
      worse = error;
    }
  if (worse !== undefined && isMixed && volumes.length > 1) throw mixed(at, users, worse);
  const tell = (error: unknown) => {
    say(messageOf(error));
  };
  await services.start(users).catch(tell);
  if (worse !== undefined) throw new OldDataBeside(`${whereIs(at, worse)} ${again}`);
  // A mark that stays only makes the next run look: the old data is in place.
  await unmark(at).catch(tell);
}

const whereIs = ({ volumes }: Exchange, cause: unknown): string =>
  `${messageOf(cause)}: the old data is in place, or in ${some(volumes.map((volume) => `volume ${beside(volume)}`))}.`;
const again = "Run script/restore again, which checks where it is and finishes";

/** Some volumes may have old data and others new, so no service may start. */
function mixed(at: Exchange, users: readonly User[], cause: unknown): OldDataBeside {
  const stopped = some(stoppedOf(users));
  const and = stopped && `, before script/up starts ${stopped}: the volumes may not match`;
  return new OldDataBeside(`${whereIs(at, cause)}${stopped && ` ${stopped} is stopped.`} ${again}${and}`);
}

async function unmark({ node, volumes }: Exchange): Promise<void> {
  await node.removeVolume(markOf(volumes));
}

/** What an earlier run left that was killed during an exchange. */
export interface Earlier {
  /** What it exchanged together. */
  readonly at: Exchange;
  /** The services that use it. */
  readonly users: readonly User[];
  /** The folders that it has exchanged. If there are any, finishing it may put the old data back. */
  readonly exchanged: readonly { readonly here: Folder; readonly there: Folder }[];
}

/**
 * Finds what earlier runs have left to finish that affects these services. Changes nothing.
 *
 * @param users the services that use the volumes. An earlier run may have exchanged other volumes of these services
 * @param usersOf finds the services that use given volumes
 * @throws UserError if it cannot be known what has been exchanged
 */
export async function findEarlier(
  at: Exchange,
  users: readonly User[],
  usersOf: (volumes: readonly string[]) => Promise<readonly User[]>,
): Promise<Earlier[]> {
  const concerned = new Set([...at.volumes, ...users.flatMap(({ volumes }) => volumes)]);
  const found: Earlier[] = [];
  for (const { name, labels } of await at.node.labelled(exchangeLabel)) {
    const first = name.slice(0, -restoreSuffixes.mark.length);
    const mark = readMark(labels[exchangeLabel]);
    const volumes = mark?.map(({ volume }) => volume) ?? [first];
    if (!volumes.some((volume) => concerned.has(volume))) continue;
    const of = { ...at, volumes };
    const theirs = await usersOf(volumes);
    if (mark === undefined) throw unknown(of, theirs, first);
    const exchanged: Earlier["exchanged"][number][] = [];
    for (const { volume, folder, ...identities } of mark) {
      const here = [volume, ""] as const;
      const present = await at.exchanger.identityOf(here);
      if (present === identities.new) exchanged.push({ here, there: [beside(volume), folder] });
      else if (present !== identities.old) throw unknown(of, theirs, volume);
    }
    found.push({ at: of, users: theirs, exchanged });
  }
  // Killed before or after it exchanged anything.
  const isFound = ({ id }: User) => found.some((earlier) => earlier.users.some((user) => user.id === id));
  const held = users.filter((user) => user.held && !isFound(user));
  return held.length === 0 ? found : [...found, { at: { ...at, volumes: [] }, users: held, exchanged: [] }];
}

function unknown({ node, volumes }: Exchange, users: readonly User[], volume: string): UserError {
  const stopped = some(stoppedOf(users.filter(({ held }) => held)));
  const unneeded = [markOf(volumes), ...volumes.map(beside)].join(" ");
  return new UserError(
    `An earlier restore was interrupted while it exchanged the data of volume ${volume}: volume ${beside(volume)} on node ${node.node.name} may be all that is left of the old data. ` +
      `Look at both, then remove what is not needed: docker volume rm ${unneeded}` +
      (stopped && `. ${stopped} may be stopped: script/up starts it again`),
  );
}

/**
 * Finishes what a run did that was killed while it exchanged data: either all volumes have the new data and the services run with
 * it, or all have the old.
 *
 * @throws OldDataBeside if it cannot
 */
export async function finishEarlier({ at, users, exchanged }: Earlier): Promise<void> {
  const { exchanger, services, volumes, say } = at;
  say("finishing an earlier restore, which was interrupted");
  const undo = exchanged.map(
    ({ here, there }) =>
      () =>
        exchanger.exchange(here, there),
  );
  if (volumes.length > 0 && exchanged.length === volumes.length) {
    await prove(at, users, undo).catch((error: unknown) => {
      if (error instanceof OldDataBeside) throw error;
      say(messageOf(error));
    });
    return;
  }
  try {
    if (exchanged.length > 0) {
      await services.stop(users, volumes);
      for (const each of undo) await each();
    }
  } catch (error) {
    throw mixed(at, users, error);
  }
  // Data with which they do not run may be why it is to be replaced.
  await services.release(users);
  if (volumes.length > 0) await unmark(at);
}

function readMark(text = ""): Marked[] | undefined {
  const parsed = parseJson(text);
  return Array.isArray(parsed) && parsed.length > 0 && parsed.every(isMarked) ? parsed : undefined;
}

const isMarked = (value: unknown): value is Marked =>
  isMapping(value) && ["volume", "folder", "old", "new"].every((key) => typeof value[key] === "string");
