import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { basename, delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

// What every benchmark shares: numbers, tables, and the file that they go to.

const results = join(__dirname, "RESULTS.md");

const preamble = `# Results

Each section is written by its benchmark and holds one run. Figures side by side were measured side by side, in turns, on the
same machine. Compare within a section, not between machines. [README.md](README.md) says how to repeat the runs.
`;

/** The value below which the share `q` of all values lies, by nearest rank. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * q) - 1)] ?? NaN;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** A number with as many digits as say something. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value >= 100) return Math.round(value).toLocaleString("en-US");
  return value.toFixed(value >= 10 ? 1 : 2);
}

export const percent = (share: number): string =>
  Number.isFinite(share) ? `${(share * 100).toFixed(1)} %` : "–";

/** A table in Markdown, in columns as wide as they must be. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(3, title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, column) => (cells[column] ?? "").padEnd(width)).join(" | ")} |`;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}

/** What a reader has to know of the machine, and nothing that names it. */
export function machine(): string {
  const [cpu] = cpus();
  const gibibytes = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} cores (${cpu?.model.trim() ?? "unknown"}), ${gibibytes} GiB of memory, Linux ${release().split("-")[0] ?? ""}`;
}

/** A target, what was measured, and whether that is enough. */
export interface Verdict {
  readonly target: string;
  readonly measured: string;
  readonly met: boolean;
}

/** The targets with what was measured, missed ones as plain as met ones. */
export const verdicts = (found: readonly Verdict[]): string =>
  table(
    ["target", "measured", ""],
    found.map(({ target, measured, met }) => [target, measured, met ? "met" : "**missed**"]),
  );

const [loadBefore = NaN] = loadavg();

/** Which command made a section, with its options, and how busy the machine was with other things. */
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
  "first-answer": "first-answer",
  deploy: "deploy",
};

/** Puts a section in the place of its predecessor and shows it. */
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

/** Where a program is, if it is on PATH. */
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

/** The first version that a program prints, with what follows the numbers. */
export function versionOf(program: string, ...args: string[]): string {
  const output = execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  return /\d+\.\d+(?:\.\d+)?(?:[-+][\w.]+)?/.exec(output)?.[0] ?? "unknown";
}

/** An argument `--name=value` of the benchmark, as a number. */
export function numberOption(name: string, fallback: number): number {
  const given = process.argv.find((argument) => argument.startsWith(`--${name}=`));
  return given === undefined ? fallback : Number(given.slice(name.length + 3));
}

/** An argument `--name=a,b` of the benchmark. */
export function listOption(name: string, fallback: readonly string[]): readonly string[] {
  const given = process.argv.find((argument) => argument.startsWith(`--${name}=`));
  return given === undefined ? fallback : given.slice(name.length + 3).split(",");
}

/** Waits while the kernel still remembers so many closed connections that it would drop new ones. */
export async function roomForConnections(): Promise<void> {
  const read = (what: string): number => {
    const file = `/proc/sys/net/netfilter/nf_conntrack_${what}`;
    return existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
  };
  for (let waited = 0; waited < 150 && read("count") > read("max") * 0.75; waited++) {
    if (waited === 0) console.log("waiting until the kernel has forgotten old connections");
    await sleep(1_000);
  }
}

/** Runs a benchmark, and what is left to clean up however it ends. */
export function benchmark(run: () => Promise<void>, cleanUp: () => Promise<void>): void {
  const end = (code: number) => void cleanUp().finally(() => process.exit(code));
  process.on("SIGINT", () => {
    end(130);
  });
  process.on("SIGTERM", () => {
    end(143);
  });
  run().then(
    () => {
      end(0);
    },
    (error: unknown) => {
      console.error(error instanceof Error ? error.message : String(error));
      end(1);
    },
  );
}
