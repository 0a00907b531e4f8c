/**
 * The embedded engine: runs the Pulumi program of this project on Docker Engines without the Pulumi CLI.
 *   node -r ./lib/register.cjs engine/main.ts COMMAND [options]
 */
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { text } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { messageOf, reportOf, UserError } from "../lib/errors";
import {
  counted,
  eventLog,
  isChange,
  outputChangeLine,
  outputChanges,
  outputLines,
  outputsJson,
  planLines,
  summary,
} from "./print";
import { type Config, crypterOf, getConfig, loadProject, loadStackFile, mergeConfig, setConfig, stackValues } from "./project"; // prettier-ignore
import type { Run } from "./run";
import type { Crypter } from "./secrets";
import { Session } from "./session";
import { loadState, stateFile } from "./state";

const USAGE = `Usage: engine/main.ts COMMAND [--stack NAME] [--config-file FILE] [--cwd DIR]
  up       [--expect-no-changes]            create or update the stack; --replace URN: also replace a resource that has not
                                            changed. The URN may have wildcards: '**SshKey::node-2-host'
  preview  [--expect-no-changes]            show what \`up\` would do; --event-log FILE: also for programs
  down                                      delete everything in the stack
  outputs  [--json] [--show-secrets]        show the outputs of the last \`up\`
  config   set [--secret] [--path] KEY [VALUE] | get KEY
           without VALUE, set reads it from standard input; with --path, KEY may be services[1].env.TOKEN`;

const { values: flags, positionals } = (() => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        stack: { type: "string", short: "s", default: process.env.PULUMI_STACK ?? "dev" },
        "config-file": { type: "string" },
        cwd: { type: "string", short: "C", default: "." },
        json: { type: "boolean", short: "j", default: false },
        "event-log": { type: "string" },
        secret: { type: "boolean", default: false },
        path: { type: "boolean", default: false },
        "show-secrets": { type: "boolean", default: false },
        "expect-no-changes": { type: "boolean", default: false },
        replace: { type: "string", multiple: true, default: [] },
        yes: { type: "boolean", short: "y", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    console.error(`error: ${messageOf(error)}\n${USAGE}`);
    process.exit(1);
  }
})();

/** The secrets of the configuration, which no line of the output may show. Like the CLI, it may show very short ones. */
const secrets = new Set<string>();
const shown = (line: string): string =>
  [...secrets]
    .filter(({ length }) => length > 2)
    .reduce((text, secret) => text.replaceAll(secret, "[secret]"), line);

const say = (line: string): void => {
  console.log(shown(line));
};
const note = (line: string): void => {
  console.error(shown(line));
};

function tell(error: unknown): void {
  note(reportOf(error));
}

function failed(run: Run): boolean {
  run.errors.forEach(tell);
  return run.errors.length > 0;
}

/** Keeps what the crypter decrypts out of the output. */
const noting = (crypter: Crypter): Crypter => ({
  ...crypter,
  decrypt(text) {
    const secret = crypter.decrypt(text);
    secrets.add(secret);
    return secret;
  },
});

async function open(command: string): Promise<Session> {
  const project = loadProject(process.cwd());
  const stackFile = loadStackFile(project, flags.stack, flags["config-file"]);
  // Derive the key in another thread while the SDK loads in this one.
  const opening = crypterOf(stackFile);
  if (command !== "down") createRequire(__filename)("./program");
  const crypter = await opening;
  let config: Config = { values: {}, secretKeys: [] };
  try {
    config = mergeConfig(project, flags.stack, stackValues(stackFile), crypter && noting(crypter));
  } catch (error) {
    // `down` must work even if the configuration is no longer valid.
    if (command !== "down") throw error;
  }
  note(
    `The embedded engine is in use instead of the Pulumi CLI: stack ${flags.stack}, state in ${path.relative("", stateFile(project.dir, flags.stack))}`,
  );
  const { stack, replace } = flags;
  const session = new Session({ project, stack, config, crypter, replace, say }, command === "preview");
  let interrupted = false;
  const interrupt = (): void => {
    if (interrupted) process.exit(1);
    interrupted = true;
    note("Interrupted: finishing the operations in progress. Interrupt again to stop immediately.");
    session.interrupt();
  };
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  return session;
}

function expectation(run: Run): boolean {
  if (!flags["expect-no-changes"] || !run.changes.some(isChange)) return true;
  note("error: there are changes, despite --expect-no-changes.");
  return false;
}

async function preview(session: Session): Promise<boolean> {
  const gone = await session.refresh();
  const { run, planned } = await session.plan();
  if (failed(run)) return false;
  const outputs = outputChanges(session.state.outputs, planned.outputs);
  counted(run.changes).filter(isChange).flatMap(planLines).forEach(say);
  if (outputs.length > 0) say(["Outputs:", ...outputs.map(outputChangeLine)].join("\n"));
  say(`Resources: ${summary(run.changes, true)}`);
  if (flags["event-log"] !== undefined) writeFileSync(flags["event-log"], eventLog(gone, run.changes));
  return expectation(run);
}

async function up(session: Session): Promise<boolean> {
  const begun = Date.now();
  await session.refresh();
  const { run: plan, planned } = await session.plan();
  if (failed(plan)) return false;
  const changes = counted(plan.changes).filter(isChange);
  if (changes.length > 0) {
    say(["Planned changes:", ...changes.flatMap(planLines), "Applying:"].join("\n"));
    if (!expectation(plan)) return false;
  }
  let { changes: done } = plan;
  if (changes.length > 0 || !session.adopt(planned)) {
    const run = await session.apply();
    done = run.changes;
    if (failed(run)) {
      note("The changes before the error are in the state: fix the cause and run `up` again to continue.");
      return false;
    }
  }
  const { outputs } = session.state;
  if (Object.keys(outputs).length > 0) say(["Outputs:", ...outputLines(outputs)].join("\n"));
  say(`Resources: ${summary(done, false)}\nDuration: ${((Date.now() - begun) / 1000).toFixed(1)}s`);
  return true;
}

async function down(session: Session): Promise<boolean> {
  const begun = Date.now();
  const run = await session.destroy();
  if (failed(run)) {
    note("Resources that could not be deleted are still in the state: fix the cause and run `down` again.");
    return false;
  }
  say(`Resources: ${summary(run.changes, false)}\nDuration: ${((Date.now() - begun) / 1000).toFixed(1)}s`);
  return true;
}

async function outputs(): Promise<boolean> {
  const project = loadProject(process.cwd());
  const crypter = await crypterOf(loadStackFile(project, flags.stack, flags["config-file"]));
  const { outputs: all } = loadState(stateFile(project.dir, flags.stack), flags.stack, crypter);
  const open = outputsJson(all, flags["show-secrets"]);
  if (flags.json) say(JSON.stringify(open, null, 2));
  else outputLines(open).forEach(say);
  return true;
}

async function config([action, key, value]: string[]): Promise<boolean> {
  const project = loadProject(process.cwd());
  const stackFile = loadStackFile(project, flags.stack, flags["config-file"]);
  if (action === "set" && key !== undefined) {
    // Like the Pulumi CLI: reading standard input keeps secrets off the command line; one final newline is dropped.
    if (value === undefined && process.stdin.isTTY) note("Type the value, then press Ctrl-D:");
    const given = value ?? (await text(process.stdin)).replace(/\r?\n$/, "");
    await setConfig(project, stackFile, key, given, { secret: flags.secret, path: flags.path });
    return true;
  }
  if (action !== "get" || key === undefined)
    throw new UserError(`config needs an action: set [--secret] [--path] KEY [VALUE], or get KEY\n${USAGE}`);
  const found = await getConfig(project, stackFile, key);
  if (found === undefined)
    throw new UserError(`'${key}' is not set for stack '${flags.stack}': config set ${key} VALUE`);
  say(found);
  return true;
}

async function main(): Promise<boolean> {
  const [command, ...rest] = positionals;
  if (flags.help || command === undefined) {
    say(USAGE);
    return flags.help;
  }
  if (!/^[\w.-]+$/.test(flags.stack))
    throw new UserError(
      `"${flags.stack}" is not a stack name: use letters, digits, dashes, underscores and dots.`,
    );
  process.chdir(flags.cwd);
  if (command === "outputs") return outputs();
  if (command === "config") return config(rest);
  const work = new Map(Object.entries({ up, preview, down })).get(command);
  if (work === undefined) throw new UserError(`There is no command "${command}".\n${USAGE}`);
  const session = await open(command);
  try {
    return await work(session);
  } finally {
    session.close();
  }
}

void main()
  .catch((error: unknown) => {
    tell(error);
    return false;
  })
  // Do not wait for clients of the SDK and keep-alive connections.
  .then((ok) => process.exit(ok ? 0 : 1));
