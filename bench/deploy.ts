import { docker } from "../test/e2e/docker";
import { run } from "../test/e2e/stack";
import { short, table, writeSection } from "./lib";

// How long the scripts take for the stack `dev`, which must not be running.

async function timed(what: string, script: string, ...args: string[]): Promise<string[]> {
  const { code, output, seconds } = await run(`script/${script}`, args);
  if (code !== 0) throw new Error(`script/${script}: ${output}`);
  return [what, short(seconds)];
}

async function main(): Promise<void> {
  // So that the images are there.
  await timed("", "up");
  await timed("", "down");
  const rows = [
    await timed("`script/up`, images present", "up"),
    await timed("`script/up`, nothing changed", "up", "--expect-no-changes"),
    await timed("`script/preview`, nothing changed", "preview"),
    await timed("`script/down`", "down"),
  ];
  const sizes = (await docker("images", "--format", "{{.Repository}} {{.Size}}"))
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([name]) => /^switchyard\/(haproxy|registrator|hello|consul|base)$/.test(name ?? ""));
  // The newest of each comes first.
  const newest = [...new Map(sizes.reverse().map(([name = "", size = ""]) => [name, size]))].sort();
  writeSection(
    "Deploying a stack",
    `The stack \`dev\`, with the embedded engine unless ENGINE says otherwise.

${table(["step", "seconds"], rows)}

${table(["image", "size"], newest)}`,
  );
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
