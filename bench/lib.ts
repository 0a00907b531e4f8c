import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { basename, delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { messageOf } from "../lib/errors";
import setup from "../test/e2e/setup";

// Shared by all benchmarks: numbers, tables, options and the results file.

const results = join(__dirname, "RESULTS.md");

const preamble = `# Results

Each section is written by its benchmark and holds one run. Figures side by side were measured side by side, in turns, on the
same machine. Compare within a section, not between machines. [README.md](README.md) says how to repeat the runs.
`;

/** The quantile `q` (0 to 1) of the values, by nearest rank. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * q) - 1)] ?? NaN;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** Formats a number with about three significant digits. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value >= 100) return Math.round(value).toLocaleString("en-US");
  return value.toFixed(value >= 10 ? 1 : 2);
}

export const percent = (share: number): string =>
  Number.isFinite(share) ? `${(share * 100).toFixed(1)} %` : "–";

/** Formats a Markdown table with aligned columns. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(3, title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, column) => (cells[column] ?? "").padEnd(width)).join(" | ")} |`;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}

/** Describes the machine without identifying it. */
export function machine(): string {
  const [cpu] = cpus();
  const gibibytes = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} cores (${cpu?.model.trim() ?? "unknown"}), ${gibibytes} GiB of memory, Linux ${release().split("-")[0] ?? ""}`;
}

/** A target, the measured value, and whether it meets the target. */
export interface Verdict {
  readonly target: string;
  readonly measured: string;
  readonly met: boolean;
}

/** Formats a table of targets and measured values. */
export const verdicts = (found: readonly Verdict[]): string =>
  table(
    ["target", "measured", ""],
    found.map(({ target, measured, met }) => [target, measured, met ? "met" : "**missed**"]),
  );

const [loadBefore = NaN] = loadavg();

/** The command of this run, the date, the machine, and its load before the run. */
function circumstances(): string {
  const name = commandOf[basename(process.argv[1] ?? "", ".ts")] ?? "";
  const command = ["script/bench", name, ...process.argv.slice(2)].join(" ").trim();
  return `\`${command}\`, ${new Date().toISOString().slice(0, 10)}; ${machine()}; load average before the run ${loadBefore.toFixed(1)}.`;
}

const commandOf: Readonly<Record<string, string>> = {
  convergence: "a",
  throughput: "b",
  churn: "c",
  renderer: "d",
  faults: "faults",
  scale: "scale",
  "first-answer": "first-answer",
  deploy: "deploy",
};

/** Writes a section to the results file, in place of the previous one with its title, and prints it. */
export function writeSection(title: string, body: string): void {
  const old = existsSync(results) ? readFileSync(results, "utf8") : preamble;
  const [intro = preamble, ...sections] = old.split(/^(?=## )/m);
  const section = `## ${title}\n\n${circumstances()}\n\n${body.trim()}\n\n`;
  const others = sections
    .filter((each) => !each.startsWith(`## ${title}\n`))
    .map((each) => `${each.trim()}\n\n`);
  const all = [...others, section].sort((a, b) => (a < b ? -1 : 1));
  writeFileSync(results, `${[`${intro.trim()}\n\n`, ...all].join("").trim()}\n`);
  console.log(`\n${section}`);
}

/** The path of a program; undefined if it is not on PATH. */
export function onPath(program: string): string | undefined {
  return (process.env["PATH"] ?? "")
    .split(delimiter)
    .map((folder) => join(folder, program))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** The first version number in a program's output, including any suffix. */
export function versionOf(program: string, ...args: string[]): string {
  const output = execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  return /\d+\.\d+(?:\.\d+)?(?:[-+][\w.]+)?/.exec(output)?.[0] ?? "unknown";
}

/** The number in the benchmark's argument `--name=value`. */
export function numberOption(name: string, fallback: number): number {
  const given = process.argv.find((argument) => argument.startsWith(`--${name}=`));
  return given === undefined ? fallback : Number(given.slice(name.length + 3));
}

/** The items of the benchmark's argument `--name=a,b`. */
export function listOption(name: string, fallback: readonly string[]): readonly string[] {
  const given = process.argv.find((argument) => argument.startsWith(`--${name}=`));
  return given === undefined ? fallback : given.slice(name.length + 3).split(",");
}

/** Waits, for at most 150 s, until the kernel's table of connections has room: a full one would drop new connections. */
export async function roomForConnections(): Promise<void> {
  const read = (what: string): number => {
    const file = `/proc/sys/net/netfilter/nf_conntrack_${what}`;
    return existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
  };
  for (let waitedSeconds = 0; waitedSeconds < 150 && read("count") > read("max") * 0.75; waitedSeconds++) {
    if (waitedSeconds === 0) console.log("waiting for the kernel to forget old connections");
    await sleep(1_000);
  }
}

/** Runs a benchmark, and cleans up however it ends; what is left of one that was killed, the next one removes. */
export function benchmark(
  run: () => Promise<void>,
  cleanUp: () => Promise<void> = () => Promise.resolve(),
): void {
  const end = (code: number) => void cleanUp().finally(() => process.exit(code));
  process.on("SIGINT", () => {
    end(130);
  });
  process.on("SIGTERM", () => {
    end(143);
  });
  setup()
    .then(run)
    .then(
      () => {
        end(0);
      },
      (error: unknown) => {
        console.error(messageOf(error));
        end(1);
      },
    );
}
