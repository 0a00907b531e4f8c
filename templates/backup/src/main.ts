/** Makes backups with restic, and gets them back: see README.md. */
import { renameSync } from "node:fs";
import path from "node:path";
import { UserError } from "../../../lib/errors";
import { listenAt } from "../../../lib/listen";
import { Engine } from "./exec";
import { feed } from "./feed";
import { keeper, requestDump } from "./keeper";
import { parseCommand, type Command } from "./options";
import { draftOf, incomplete, isFull, Restic } from "./restic";
import { escapeLines } from "../../../lib/text";

const log = (line: string): void => {
  process.stdout.write(`${escapeLines(line)}\n`);
};

/** Files may vanish while they are copied. */
const attempts = 3;
const dockerSocket = "/var/run/docker.sock";

/** Its path in a snapshot. restic 0.18 takes none in a folder. */
const dumpFile = (service: string): string => `/${service}.dump`;

type Of<Verb extends Command["verb"]> = Extract<Command, { verb: Verb }>;

async function backup({ volumes, dumps, keep, ...place }: Of<"backup">): Promise<void> {
  const restic = new Restic(place);
  await restic.prepare();
  // Removes locks of runs that were killed, once they are old.
  await restic.run(["unlock", "--quiet"]);
  for (const volume of volumes) await backUpFiles(restic, `/volumes/${volume}`);
  for (const service of dumps) {
    const file = dumpFile(service);
    const dump = ["--stdin-from-command", "--", process.execPath, "/app/main.js", "dump", service];
    const { code, errors } = await restic.start(
      ["backup", "--host", place.host, "--stdin-filename", file, ...dump],
      "inherit",
    ).ended;
    // restic stores nothing of a command that fails.
    if (code !== 0) restic.check({ code: code === incomplete ? 1 : code, errors });
    await report(restic, file);
  }
  const kept = Object.entries(keep).map(([every, number]) => `--keep-${every}=${number}`);
  if (kept.length === 0) return;
  const forget = (host: string, of: string, ...rules: string[]): Promise<string> =>
    restic.run([
      ...["forget", "--quiet", "--host", host, "--path", of],
      ...["--group-by", "host,paths", "--prune", ...rules],
    ]);
  // The last one makes the next backup fast.
  for (const volume of volumes) await forget(draftOf(place.host), `/volumes/${volume}`, "--keep-last=1");
  for (const each of [...volumes.map((name) => `/volumes/${name}`), ...dumps.map(dumpFile)])
    await forget(place.host, each, ...kept);
}

async function backUpFiles(restic: Restic, folder: string): Promise<void> {
  const { host } = restic.place;
  for (let attempt = 1; ; attempt++) {
    const { code, errors, id } = await restic.backUp(["--host", draftOf(host), folder]);
    if (code === 0 && id !== undefined) {
      await restic.run(["rewrite", "--quiet", "--new-host", host, id]);
      return report(restic, folder);
    }
    if (code !== incomplete) restic.check({ code, errors });
    if (attempt === attempts)
      throw new UserError(
        `Files vanished while they were copied, or cannot be read, so there is no backup: ${errors}\nSet dump for data that may not be copied while the service runs`,
      );
  }
}

async function report(restic: Restic, of: string): Promise<void> {
  const made = (await restic.snapshots(of)).at(-1);
  log(`snapshot ${made?.id ?? ""} of ${path.basename(of)}`);
}

async function list(place: Of<"list">): Promise<void> {
  for (const { id, time, paths } of await new Restic(place).snapshots())
    log(
      `${id}  ${time.slice(0, 19).replace("T", " ")}  ${paths.map((each) => path.basename(each)).join(", ")}`,
    );
}

/** Restores a folder to `data` in `target`, and reads it again. */
async function restore({ path: wanted, snapshot, target, ...place }: Of<"restore">): Promise<void> {
  const restic = new Restic(place);
  const found = await restic.find(snapshot, wanted);
  const { code, errors } = await restic.start(
    ["restore", "--no-lock", found.id, "--quiet", "--verify", "--target", target, "--include", found.path],
    "pipe",
  ).ended;
  if (isFull(errors))
    throw new UserError(
      `The disk with Docker's volumes has no room for a second copy of the data: make room on it, and try again`,
    );
  restic.check({ code, errors });
  renameSync(path.join(target, found.path), path.join(target, "data"));
  log(`snapshot ${found.id} of ${path.basename(found.path)} is restored`);
}

async function load({ path: wanted, snapshot, container, program, ...place }: Of<"load">): Promise<void> {
  const restic = new Restic(place);
  const found = await restic.find(snapshot, wanted);
  await feed(new Engine(dockerSocket), restic, found, { container, program });
  log(`snapshot ${found.id} of ${path.basename(found.path)} is loaded`);
}

async function main(): Promise<void> {
  const command = parseCommand(process.argv.slice(2));
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => process.exit(143));
  switch (command.verb) {
    case "backup":
      return backup(command);
    case "list":
      return list(command);
    case "restore":
      return restore(command);
    case "load":
      return load(command);
    case "dump":
      return requestDump(command.service, process.stdout);
    case "docker":
      await listenAt(keeper(new Engine(dockerSocket), command.programs, log), command.listen);
  }
}

main().catch((error: unknown) => {
  // Anything but a user's mistake is a bug, and needs its stack trace.
  console.error(error instanceof UserError ? escapeLines(error.message) : error);
  process.exit(1);
});
