import { docker } from "../test/e2e/docker";
import { run } from "../test/e2e/stack";
import { benchmark, short, table, verdicts, writeSection } from "./lib";

// How long the scripts take to deploy the stack `dev`, which must not be running.

async function timed(what: string, script: string, ...args: string[]): Promise<[string, number]> {
  const { code, output, seconds } = await run(`script/${script}`, args);
  if (code !== 0) throw new Error(`script/${script}: ${output}`);
  return [what, seconds];
}

async function main(): Promise<void> {
  // Builds the images.
  await timed("", "up");
  await timed("", "down");
  const first = await timed("`script/up`, images present", "up");
  const unchanged = await timed("`script/up`, nothing changed", "up", "--expect-no-changes");
  const rows = [
    first,
    unchanged,
    await timed("`script/preview`, nothing changed", "preview"),
    await timed("`script/down`", "down"),
  ];
  const sizes = (await docker("images", "--format", "{{.Repository}} {{.Size}}"))
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([name]) => /^switchyard\/(haproxy|registrator|hello|consul|base)$/.test(name ?? ""));
  // Docker lists the newest image of each name first.
  const newest = [...new Map(sizes.reverse().map(([name = "", size = ""]) => [name, size]))].sort();
  writeSection(
    "Deploying a stack",
    `The stack \`dev\`, with the embedded engine unless ENGINE chooses another.

${table(
  ["step", "seconds"],
  rows.map(([what, seconds]) => [what, short(seconds)]),
)}

${verdicts([
  {
    target: "from images present to running at most 60 s",
    measured: `${short(first[1])} s`,
    met: first[1] <= 60,
  },
  { target: "nothing changed at most 10 s", measured: `${short(unchanged[1])} s`, met: unchanged[1] <= 10 },
])}

${table(["image", "size"], newest)}`,
  );
}

benchmark(main);
