/** `script/backup` and `script/restore`. Reads the engine's state from descriptor 3 and the stack's secrets from 4. */
import { readFileSync } from "node:fs";

import { dumpSocket, passwordSecret } from "../components/config/backups";
import { socketFolder } from "../components/filtered-socket";
import { encryptWith } from "../components/config/secrets";
import { reportOf, UserError } from "../lib/errors";
import { some } from "../lib/text";
import { ExecError } from "../providers/exec";
import { configure, readSources, withoutEngine } from "../preview/configured";
import { beside, exchange, findEarlier, finishEarlier, OldDataBeside, type Exchange } from "./exchange";
import { ask, Interruption } from "./interruption";
import { BackupNode, Exchanger, type Mount } from "./node";
import { parseOptions, usage, type Options } from "./options";
import { Services, stoppedOf, type User } from "./services";
import { readDeployed, repositoryOf, secretVariables, subjectOf, type Deployed, type Subject } from "./stack"; // prettier-ignore

const say = (line: string): void => {
  console.error(`\x1b[1m==>\x1b[0m ${line}`);
};

const interruption = new Interruption(say, (code) => process.exit(code));

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

const mountOf = (Source: string, Target: string) => ({ Type: "volume" as const, Source, Target });

/** Runs commands of the image with restic. */
type Run = (...args: string[]) => Promise<string>;

async function open(
  work: Work,
  more: { mounts?: readonly Mount[]; binds?: readonly string[] } = {},
): Promise<Run> {
  const { node, folder, env, options } = work;
  const { mounts = [], binds = [] } = more;
  // Docker creates the folder of a bind, and refuses a mount without one.
  const isBackup = options.verb === "backup";
  const toolbox = await node.toolbox({
    mounts: [
      ...mounts,
      ...(folder === undefined || isBackup
        ? []
        : [{ Type: "bind" as const, Source: folder, Target: "/repository" }]),
    ],
    binds: [...binds, ...(folder !== undefined && isBackup ? [`${folder}:/repository`] : [])],
  });
  interruption.onEnd(() => toolbox.close());
  return async (...args) => {
    try {
      return await toolbox.run(["node", "/app/main.js", ...args], env);
    } catch (error) {
      if (!(error instanceof ExecError)) throw error;
      const said = error.message.slice(error.message.indexOf(": ") + 2);
      const shown = folder === undefined ? said : said.replace(/(?<![\w/])\/repository\b/g, folder);
      throw new UserError(error.exitCode === 137 ? `The program was killed: ${shown}` : shown);
    }
  };
}

async function backup(work: Work): Promise<void> {
  const { subject, place, node } = work;
  if (subject.dump !== undefined) {
    if (!(await node.runs(dumpSocket)))
      throw new UserError(`Container ${dumpSocket} does not run on node ${subject.node.name}: run script/up`);
    const socket = { ...mountOf(dumpSocket, socketFolder(dumpSocket)), ReadOnly: true };
    const run = await open(work, { mounts: [socket] });
    console.log(await run("backup", ...place, `--dump=${subject.dump.swarmName}`));
    return;
  }
  const mounts = subject.volumes.map(({ name, dockerName }) => ({
    ...mountOf(dockerName, `/volumes/${name}`),
    ReadOnly: true,
  }));
  const run = await open(work, { mounts });
  const of = subject.volumes.map(({ name }) => `--volume=${name}`);
  console.log(await run("backup", ...place, ...of));
}

async function list(work: Work): Promise<void> {
  const run = await open(work);
  console.log((await run("list", ...work.place)) || "There are no backups of this stack.");
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
  for (const name of names) await node.volume(name);
  const exchanger = await Exchanger.open(node, names[0] ?? "");
  interruption.onEnd(() => exchanger.close());
  const at: Exchange = { node, exchanger, services, volumes: names, say };
  const usersOf = (of: readonly string[]): Promise<User[]> => services.usersOf(of, replicas);
  const users = await usersOf(names);
  const earlier = await findEarlier(at, users, usersOf);
  if (earlier.some(({ exchanged }) => exchanged.length > 0))
    await confirm(
      options,
      `An earlier restore of volume ${some(earlier.flatMap((each) => each.at.volumes))} was interrupted. Finishing it brings the old data back, and loses what was written since, unless the services run with the new data.`,
    );
  for (const each of earlier) await uninterrupted(() => finishEarlier(each));
  if (interruption.isInterrupted)
    throw new UserError("Interrupted: the earlier restore is finished, and nothing else was changed");
  const spare = names.map(beside);
  await confirm(options, warningOf(subject, users));
  if (dump !== undefined) await services.removeBeside(dump.swarmName, spare);
  for (const each of spare) {
    await node.freshVolume(each);
    interruption.onEnd(() => node.removeVolume(each));
  }
  const folders = await fill(work, services);
  // Another one may have been deployed meanwhile.
  const present = await usersOf(names);
  const stops = some(stoppedOf(present));
  say(stops === "" ? "exchanging the data" : `stopping ${stops} to exchange the data`);
  await uninterrupted(() => exchange(at, present, new Map(names.map((name) => [name, folders]))));
  say(`restored ${options.name}`);
}

/** Does something that an interruption has to wait for. */
async function uninterrupted(work: () => Promise<void>): Promise<void> {
  await interruption.uninterrupted(work).catch((error: unknown) => {
    // No volume may be removed.
    if (error instanceof OldDataBeside) interruption.keepAll();
    throw error;
  });
}

/** Restores beside the volumes, while they are in use. Returns the folder with the new data in each. */
async function fill(work: Work, services: Services): Promise<string> {
  const { subject, place, options } = work;
  const at = [...place, `--snapshot=${options.snapshot}`];
  const { dump, volumes } = subject;
  if (dump === undefined) {
    const mounts = volumes.map(({ name, dockerName }) => mountOf(beside(dockerName), `/restored/${name}`));
    const run = await open(work, { mounts });
    say("restoring beside the present data, which stays in use meanwhile");
    for (const { name } of volumes)
      console.log(await run("restore", ...at, `--path=/volumes/${name}`, `--target=/restored/${name}`));
    await interruption.undoLast();
    return "data";
  }
  const { swarmName, load } = dump;
  if (load === undefined)
    throw new UserError(`${options.name} has no backup.load: set it to a command that reads the dump`);
  const run = await open(work, { binds: ["/var/run/docker.sock:/var/run/docker.sock"] });
  const spare = volumes.map(({ dockerName }) => beside(dockerName));
  interruption.onEnd(() => services.removeBeside(swarmName, spare));
  say(`starting a ${swarmName} with empty volumes beside the present one, which stays in use meanwhile`);
  const container = await services.startBeside(
    swarmName,
    Object.fromEntries(volumes.map(({ dockerName }) => [dockerName, beside(dockerName)])),
  );
  const program = `--program=${JSON.stringify(load)}`;
  console.log(await run("load", ...at, `--path=/${swarmName}.dump`, `--container=${container}`, program));
  // It stops as on any other day, and with that its files are whole.
  await interruption.undoLast();
  await interruption.undoLast();
  return "";
}

function warningOf(subject: Subject, users: readonly User[]): string {
  const volumes = some(subject.volumes.map(({ name }) => name));
  const stops = stoppedOf(users).length === 0 ? "" : ` It stops ${some(stoppedOf(users))} for some seconds.`;
  return `This replaces the data in ${volumes} on node ${subject.node.name}: what was written after the backup is lost.${stops}`;
}

async function confirm(options: Options, warning: string): Promise<void> {
  if (options.yes) {
    say(warning);
    return;
  }
  if (!process.stdin.isTTY) throw new UserError(`${warning} Confirm it with --yes`);
  const answer = await ask(`${warning}\nContinue? [y/N] `, process.stdin, process.stderr);
  if (!/^y(es)?$/i.test(answer.trim())) throw new UserError("Nothing was changed");
}

// A terminal that has been closed takes no output any more.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, () => {
    interruption.interrupt(signal);
  });

void main()
  .then(
    () => 0,
    (error: unknown) => {
      console.error(reportOf(error));
      return 1;
    },
  )
  .then((code) => interruption.end(code));
