/** `script/backup` and `script/restore`. Reads the engine's state from descriptor 3 and the stack's secrets from 4. */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline/promises";

import { dumpSocket, passwordSecret } from "../components/config/backups";
import { socketFolder } from "../components/filtered-socket";
import { encryptWith } from "../components/config/secrets";
import { messageOf, reportOf, UserError } from "../lib/errors";
import { some } from "../lib/text";
import { configure, readSources, withoutEngine } from "../preview/configured";
import { BackupNode, UnclearExchange, type Toolbox } from "./node";
import { parseOptions, usage, type Options } from "./options";
import { Services, type User } from "./services";
import { readDeployed, repositoryOf, secretVariables, subjectOf, type Deployed, type Subject } from "./stack"; // prettier-ignore

const say = (line: string): void => {
  console.error(`\x1b[1m==>\x1b[0m ${line}`);
};

/** What to undo when the run ends, in whatever way it can still notice, the last first. */
const cleanups: (() => Promise<void>)[] = [];

let interrupted = false;
/** From when on an interruption has to wait. */
let exchanging = false;

async function cleanUp(): Promise<void> {
  for (let undo = cleanups.pop(); undo !== undefined; undo = cleanups.pop())
    await undo().catch((error: unknown) => {
      say(messageOf(error));
    });
}

interface Work {
  readonly subject: Subject;
  readonly options: Options;
  readonly node: BackupNode;
  readonly deployed: Deployed;
  /** Arguments for the program in the image: where backups are, and whose. */
  readonly place: readonly string[];
  /** The folder of the node with the backups, if that is where they are. */
  readonly folder: string | undefined;
  readonly env: readonly string[];
  readonly replicas: Readonly<Record<string, number>>;
}

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  if (options === "help") {
    console.log(usage);
    return;
  }
  const stack = process.env["STACK"] ?? "dev";
  await withoutEngine();
  const { services } = configure(stack, readSources(stack));
  const deployed = readDeployed(readFileSync(3, "utf8"));
  const subject = subjectOf(options.name, services, stack, deployed);
  const env = secretVariables(readFileSync(4, "utf8"), encryptWith(passwordSecret));
  const given = options.repository ?? subject.to;
  if (given === undefined) throw new UserError(`Say where the backups are\n${usage}`);
  const { repository, folder } = repositoryOf(given, subject.node);
  const work: Work = {
    subject,
    options,
    deployed,
    node: new BackupNode(subject.node, deployed.owner, deployed.base, say),
    place: [`--repository=${repository}`, `--host=${deployed.owner}`],
    folder,
    env,
    replicas: Object.fromEntries(
      services.map(({ swarmName, replicas }) => [
        swarmName,
        typeof replicas === "number" ? replicas : Math.max(1, replicas.min),
      ]),
    ),
  };
  if (options.verb === "backup") await backup(work);
  else if (options.list) await list(work);
  else await restore(work);
}

const nameOf = ({ options }: Work): string =>
  `switchyard-${options.verb}-${options.name.replace(/\W/g, "-")}`;
const beside = (dockerName: string): string => `${dockerName}.restore`;
/** A volume that exists while it is not certain which of two volumes has the old data. */
const exchangeMark = (dockerName: string): string => `${dockerName}.exchanging`;
const mountOf = (Source: string, Target: string) => ({ Type: "volume" as const, Source, Target });

async function open(
  work: Work,
  more: Pick<Parameters<BackupNode["toolbox"]>[1], "mounts" | "binds">,
): Promise<Toolbox> {
  const { node, folder, env, options } = work;
  // Docker creates the folder of a bind, and refuses a mount without one.
  const isBackup = options.verb === "backup";
  const toolbox = await node.toolbox(nameOf(work), {
    mounts: [
      ...more.mounts,
      ...(folder === undefined || isBackup
        ? []
        : [{ Type: "bind" as const, Source: folder, Target: "/repository" }]),
    ],
    binds: [...more.binds, ...(folder !== undefined && isBackup ? [`${folder}:/repository`] : [])],
    env,
  });
  cleanups.push(() => toolbox.close());
  return toolbox;
}

async function backup(work: Work): Promise<void> {
  const { subject, place, node } = work;
  if (subject.dump !== undefined) {
    if (!(await node.runs(dumpSocket)))
      throw new UserError(`Container ${dumpSocket} does not run on node ${subject.node.name}: run script/up`);
    const socket = { ...mountOf(dumpSocket, socketFolder(dumpSocket)), ReadOnly: true };
    const toolbox = await open(work, { mounts: [socket], binds: [] });
    console.log(await toolbox.run("backup", ...place, `--dump=${subject.dump.swarmName}`));
    return;
  }
  const mounts = subject.volumes.map(({ name, dockerName }) => ({
    ...mountOf(dockerName, `/volumes/${name}`),
    ReadOnly: true,
  }));
  const toolbox = await open(work, { mounts, binds: [] });
  const of = subject.volumes.map(({ name }) => `--volume=${name}`);
  console.log(await toolbox.run("backup", ...place, ...of));
}

async function list(work: Work): Promise<void> {
  const toolbox = await open(work, { mounts: [], binds: [] });
  console.log((await toolbox.run("list", ...work.place)) || "There are no backups of this stack.");
}

async function restore(work: Work): Promise<void> {
  const { subject, node, deployed, options, replicas } = work;
  const { volumes, dump } = subject;
  if (volumes.length > 1 && dump === undefined && options.snapshot !== "latest")
    throw new UserError(
      `${options.name} has several volumes, each with snapshots of its own: name one of ${some(volumes.map(({ name }) => name))}`,
    );
  const services = new Services(deployed, deployed.owner, node);
  const names = volumes.map(({ dockerName }) => dockerName);
  const spare = names.map(beside);
  await node.removeLeft(nameOf(work));
  if (dump !== undefined) await services.removeBeside(dump.swarmName, spare);
  for (const name of names)
    if (await node.hasVolume(exchangeMark(name)))
      throw new UserError(
        `An earlier restore was interrupted while it exchanged the data of volume ${name}: volume ${beside(name)} on node ${subject.node.name} may be all that is left of the old data. ` +
          `Look at both, then remove what is not needed: docker volume rm ${exchangeMark(name)} ${beside(name)}`,
      );
  await confirm(work, await services.usersOf(names, replicas));
  for (const { dockerName } of volumes) {
    await node.volume(dockerName);
    await node.freshVolume(beside(dockerName));
    cleanups.push(() => node.removeVolume(beside(dockerName)));
  }
  const folders = await fill(work, services);
  // Another one may have been deployed meanwhile.
  const present = await services.usersOf(names, replicas);
  say(
    present.length === 0
      ? "exchanging the data"
      : `stopping ${some(present.map(({ name }) => name))} to exchange the data`,
  );
  exchanging = true;
  await exchange(work, services, present, folders);
  say(`restored ${options.name}`);
}

/** Restores beside the volumes, while they are in use. Returns the new folder of each. */
async function fill(work: Work, services: Services): Promise<(readonly [string, string])[]> {
  const { subject, place, options } = work;
  const at = [...place, `--snapshot=${options.snapshot}`];
  const { dump, volumes } = subject;
  if (dump === undefined) {
    const mounts = volumes.map(({ name, dockerName }) => mountOf(beside(dockerName), `/restored/${name}`));
    const toolbox = await open(work, { mounts, binds: [] });
    say("restoring beside the present data, which stays in use meanwhile");
    for (const { name } of volumes)
      console.log(
        await toolbox.run("restore", ...at, `--path=/volumes/${name}`, `--target=/restored/${name}`),
      );
    await cleanUpLast();
    return volumes.map(({ dockerName }) => [beside(dockerName), "data"] as const);
  }
  const { swarmName, load } = dump;
  if (load === undefined)
    throw new UserError(`${options.name} has no backup.load: set it to a command that reads the dump`);
  const toolbox = await open(work, { mounts: [], binds: ["/var/run/docker.sock:/var/run/docker.sock"] });
  const spare = volumes.map(({ dockerName }) => beside(dockerName));
  cleanups.push(() => services.removeBeside(swarmName, spare));
  say(`starting a ${swarmName} with empty volumes beside the present one, which stays in use meanwhile`);
  const container = await services.startBeside(
    swarmName,
    Object.fromEntries(volumes.map(({ dockerName }) => [dockerName, beside(dockerName)])),
  );
  const program = `--program=${JSON.stringify(load)}`;
  console.log(
    await toolbox.run("load", ...at, `--path=/${swarmName}.dump`, `--container=${container}`, program),
  );
  // It stops as on any other day, and with that its files are whole.
  await cleanUpLast();
  await cleanUpLast();
  return spare.map((volume) => [volume, ""] as const);
}

async function cleanUpLast(): Promise<void> {
  await cleanups.pop()?.();
}

/** Exchanges the data while the services are stopped. If they do not start with the new data, they get the old back. */
async function exchange(
  { subject, node }: Work,
  services: Services,
  users: readonly User[],
  folders: readonly (readonly [string, string])[],
): Promise<void> {
  const names = subject.volumes.map(({ dockerName }) => dockerName);
  let stopped = true;
  cleanups.push(async () => {
    if (stopped) await services.start(users);
  });
  await services.stop(users, names);
  const undo: (() => Promise<void>)[] = [];
  const besides = some(folders.map(([volume]) => `volume ${volume}`));
  try {
    for (const name of names) await node.volume(exchangeMark(name));
    for (const [index, folder] of folders.entries()) {
      const here = [names[index] ?? "", ""] as const;
      await node.exchange(here, folder);
      undo.unshift(() => node.exchange(here, folder));
    }
    await services.start(users);
    stopped = false;
    await unmark();
  } catch (error) {
    if (!stopped) throw error;
    if (error instanceof UnclearExchange) {
      // Neither volume may be removed.
      cleanups.splice(0, cleanups.length, () => services.start(users));
      say(`it is not known whether the data has been exchanged: the old data is in place, or in ${besides}`);
      throw error;
    }
    say("putting the old data back");
    try {
      await services.stop(users, names);
      for (const each of undo) await each();
      await unmark();
    } catch (worse) {
      // The volume beside may have the only old data.
      cleanups.length = 0;
      say(`the old data cannot be put back: it is in ${besides}`);
      throw worse;
    }
    throw error;
  }
  async function unmark(): Promise<void> {
    for (const name of names) await node.removeVolume(exchangeMark(name));
  }
}

async function confirm({ subject, options }: Work, users: readonly User[]): Promise<void> {
  const volumes = some(subject.volumes.map(({ name }) => name));
  const stops =
    users.length === 0 ? "" : ` It stops ${some(users.map(({ name }) => name))} for some seconds.`;
  const warning = `This replaces the data in ${volumes} on node ${subject.node.name}: what was written after the backup is lost.${stops}`;
  if (options.yes) {
    say(warning);
    return;
  }
  if (!process.stdin.isTTY) throw new UserError(`${warning} Confirm it with --yes`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`${warning}\nContinue? [y/N] `);
  terminal.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new UserError("Nothing was changed");
}

for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.on(signal, () => {
    if (interrupted) process.exit(1);
    interrupted = true;
    if (exchanging) {
      say("finishing first: the data is being exchanged. Interrupt again to stop immediately");
      return;
    }
    say("interrupted: cleaning up. Interrupt again to stop immediately");
    void cleanUp().then(() => process.exit(130));
  });

void main()
  .then(
    () => 0,
    (error: unknown) => {
      console.error(reportOf(error));
      return 1;
    },
  )
  .then(async (code) => {
    if (interrupted && !exchanging) return;
    await cleanUp();
    process.exit(code);
  });
