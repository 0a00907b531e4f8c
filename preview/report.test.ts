import { readFileSync } from "node:fs";

import { beforeAll, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";

import { describeRoutes, describeServices, planRouting, planStack, readOutputs } from "../components/routing";
import { portKeys } from "../components/ports";
import { SECRET, SIGNATURE } from "../engine/wire";
import { compareStacks } from "../routing/stack-diff";
import { forecastStack } from "../templates/haproxy/src/reconcile/forecast";
import { configure, withoutEngine } from "./configured";
import { readExport } from "./deployed";
import type { Infrastructure } from "./infrastructure";
import { toJsonReport, toMarkdownReport, toTextReport, type Report } from "./report";

beforeAll(withoutEngine);

const project = readFileSync("Pulumi.yaml", "utf8");
const dev = readFileSync("Pulumi.dev.yaml", "utf8");

interface StackFile {
  readonly config: Record<string, unknown> & { "switchyard:services": Record<string, unknown>[] };
}

/** The dev stack after a pull request: more instances of v2 with a memory limit, a new v3, and a renamed service. */
function changed(): string {
  const { config } = parse(dev) as StackFile;
  const [v1, v2, time] = config["switchyard:services"];
  const v3 = { ...v1, name: "hello/v3", replicas: 1, env: { NAME: "hello", VERSION: "v3" } };
  const services = [v1, { ...v2, replicas: 4, memory: "64m" }, v3, { ...time, name: "clock" }];
  return stringify({ config: { ...config, "switchyard:services": services } });
}

function report(before: string, after: string, infrastructure: Infrastructure): Report {
  const old = configure("dev", { project, stack: before });
  const now = configure("dev", { project, stack: after });
  const [was, is] = [old, now].map(({ services, ports }) => planStack(services, ports));
  if (was === undefined || is === undefined) throw new Error("two stacks were read");
  return {
    stack: "dev",
    infrastructure,
    routing: {
      comparedWith: "the deployed stack",
      notes: [],
      differences: compareStacks(was, is),
      runtime: forecastStack(was, is),
      routes: describeRoutes(planRouting(now.services, now.ports)),
    },
  };
}

/** The Pulumi CLI's output for this change. */
const text = readFileSync("test/golden/preview-engine.txt", "utf8").trimEnd();

describe("a pull request that changes the dev stack", () => {
  test("as a comment", async () => {
    const comment = toMarkdownReport(
      report(dev, changed(), {
        status: "previewed",
        text,
        replaced: [],
        gone: [],
        registration: [],
        updated: [],
      }),
    );
    await expect(`${comment}\n`).toMatchFileSnapshot("../test/golden/preview-comment.md");
  });

  test("as a comment without access to secrets", async () => {
    const missing = ["a login to the Pulumi backend: pulumi login, or set PULUMI_ACCESS_TOKEN"];
    const comment = toMarkdownReport(report(dev, changed(), { status: "missing", missing }));
    await expect(`${comment}\n`).toMatchFileSnapshot("../test/golden/preview-comment-fork.md");
  });

  test("on a terminal", async () => {
    const lines = toTextReport(
      report(dev, changed(), { status: "previewed", replaced: [], gone: [], registration: [], updated: [] }),
    );
    await expect(`${lines}\n`).toMatchFileSnapshot("../test/golden/preview-terminal.txt");
  });

  test("as JSON", () => {
    const plan = { changes: { create: 1 }, steps: [] };
    const json = JSON.parse(
      toJsonReport(
        report(dev, changed(), {
          status: "previewed",
          plan,
          replaced: [],
          gone: [],
          registration: [],
          updated: [],
        }),
      ),
    ) as unknown;
    expect(json).toMatchObject({
      stack: "dev",
      infrastructure: { status: "previewed", plan },
      routing: {
        comparedWith: "the deployed stack",
        runtime: { kind: "operations", rolled: ["hello/v2"], reasons: [] },
        routes: { "/hello": "hello/v3 × 1", "/clock": "clock × 1" },
      },
    });
  });
});

test("reports no change in one line per part", () => {
  const same = toTextReport(
    report(dev, dev, { status: "previewed", replaced: [], gone: [], registration: [], updated: [] }),
  );
  expect(same).toBe("Routes, compared with the deployed stack: nothing changes\nAt run time: nothing to do.");
});

test("a comment marks the changes of an engine's diff, and only these", () => {
  const diff = [
    "    +-docker:index/container:Container: (replace)",
    "    --docker:index/container:Container: (delete-replaced)",
    "      ~ image: 1 => 2",
    "      - old  : -1",
    "    --outputs:--",
    "      --flag: x",
  ].join("\n");
  const comment = toMarkdownReport(
    report(dev, dev, {
      status: "previewed",
      text: diff,
      replaced: [],
      gone: [],
      registration: [],
      updated: [],
    }),
  );
  expect(/```diff\n([^]*?)\n```/.exec(comment)?.[1]?.split("\n")).toEqual([
    "+-    docker:index/container:Container: (replace)",
    "--    docker:index/container:Container: (delete-replaced)",
    "      ~ image: 1 => 2",
    "-       old  : -1",
    "    --outputs:--",
    "      --flag: x",
  ]);
});

test("a comment shows the errors of a failed preview as they are", () => {
  const output = "error: no\n  - use a version";
  const comment = toMarkdownReport(report(dev, dev, { status: "failed", output }));
  expect(comment).toContain(`**Infrastructure**: the preview failed.\n\n\`\`\`\n${output}\n\`\`\``);
});

test("a comment stays within GitHub's limit and its code block stays closed, whatever the engine prints", () => {
  const long = "+ ```` a line\n".repeat(10_000);
  const comment = toMarkdownReport(
    report(dev, dev, {
      status: "previewed",
      text: long,
      replaced: [],
      gone: [],
      registration: [],
      updated: [],
    }),
  );
  expect(comment.length).toBeLessThan(65_536);
  expect(comment).toMatch(/^`{5}diff$/m);
  expect(comment).toMatch(/and \d+ more lines/);
});

test("nothing foreign in a comment is markup, mentions anybody or breaks out of its line", () => {
  const foreign =
    "@org/team ![](//x/i.png) [all](//x) <img src=x> ``a`` \n\n# Approved\n- [x] **ok** #1 ann@x \u202egnp` `@a <b>`";
  const same = report(dev, dev, { status: "previewed", text: `Resources:\n    1 @team`, replaced: [], gone: [], registration: [], updated: [] }); // prettier-ignore
  const comment = toMarkdownReport({
    ...same,
    routing: {
      ...same.routing,
      comparedWith: "`v1`",
      notes: [`Out of reach: ${foreign}`, "The last `up` did not finish."],
    },
  });
  expect(comment.split("\n").slice(2, 9)).toEqual([
    "",
    "**Routes**, compared with `v1`: nothing changes.",
    "",
    "> Out of reach: &#64;&#8203;org/team &#33;&#91;&#93;(//x/i.png) &#91;all&#93;(//x) &#60;img src=x&#62; &#96;&#96;a&#96;&#96; " +
      "&#35; Approved - &#91;x&#93; &#42;&#42;ok&#42;&#42; &#35;1 ann&#64;x &#92;u202egnp` `&#64;&#8203;a &#60;b&#62;&#96;",
    "",
    "> The last `up` did not finish.",
    "",
  ]);
  expect(comment).toContain("**Infrastructure**: 1 &#64;&#8203;team");
  const onTerminal = toTextReport({ ...same, routing: { ...same.routing, notes: [foreign] } });
  expect(onTerminal).toContain("ann@x \\u202egnp");
});

test("reads back from a stack's outputs what it was planned from", () => {
  const { services: plainServices, ports } = configure("dev", { project, stack: changed() });
  const range = { min: 0, max: 5, targets: { concurrent: 2 }, idleMs: 300_000 };
  const services = plainServices.map((each, index) => (index === 0 ? { ...each, replicas: range } : each));
  expect(Object.values(describeRoutes(planRouting(services, ports), services))).toContain(
    "hello/v1 × 0 to 5 (target 2, idle 5m)",
  );
  const outputs = { services: describeServices(services), ports: portKeys(ports) };
  const plain = JSON.parse(JSON.stringify(outputs)) as unknown;
  expect(
    compareStacks(planStack(services, ports), readOutputs(plain) ?? { services: [], ports: {} }),
  ).toEqual([]);
  expect(readOutputs({ urls: {} })).toBeUndefined();
});

test("reads a state that the CLI exported", () => {
  const stack = (...resources: object[]) => JSON.stringify({ version: 3, deployment: { resources } });
  const outputs = { services: { a: { type: "rest", replicas: 2, runs: "a:1" } }, ports: { httpPort: 80 } };
  const secret = { [SIGNATURE]: SECRET, ciphertext: "x" };
  const root = { type: "pulumi:pulumi:Stack", outputs: { ...outputs, statsPassword: secret } };
  expect(readExport(stack(root))).toEqual({
    kind: "deployed",
    stack: {
      services: [{ name: "a", type: "rest", replicas: 2, meta: {}, runs: "a:1" }],
      ports: { httpPort: 80 },
    },
  });
  expect(readExport(stack())).toEqual({ kind: "never", inBackend: true });
  expect(readExport(stack({ type: "pulumi:pulumi:Stack" }))).toMatchObject({ kind: "unknown" });
});
