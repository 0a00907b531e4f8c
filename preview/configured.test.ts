import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterEach, beforeAll, expect, test } from "vitest";
import { stringify } from "yaml";

import { planRouting } from "../components/routing";
import { configure, readSourcesAt, withoutEngine } from "./configured";

const project = readFileSync("Pulumi.yaml", "utf8");
const home = process.cwd();

beforeAll(withoutEngine);
afterEach(() => {
  process.chdir(home);
});

const hello = { name: "hello/v1", build: "hello", port: 8080 };
const db = { name: "db", image: "postgres:17", port: 5432, type: "tcp" };

function preview(config: Readonly<Record<string, unknown>>): () => unknown {
  const own = Object.entries(config).map(([key, value]) => [`switchyard:${key}`, value] as const);
  const stack = stringify({ config: Object.fromEntries(own) });
  return () => {
    const { services, ports } = configure("dev", { project, stack });
    return planRouting(services, ports);
  };
}

test("reads a stack without its secrets, even before they exist", () => {
  const services = [{ ...hello, env: { TOKEN: { secure: "v1:none:of your business" } } }];
  expect(preview({ services })).not.toThrow();
  expect(preview({ services, statsPassword: { secure: "v1:as:above" } })).not.toThrow();
});

// Mistakes that fail a preview before anything changes, with the key and the cure.
test.each<[string, Record<string, unknown>, RegExp]>([
  [
    "two services on one route",
    { services: [hello, { ...hello, name: "other", meta: { path: "/hello/v1" } }] },
    /services\[1\] cannot be routed: .*\/hello\/v1, which hello\/v1 already has: give one of them/,
  ],
  [
    "the load balancer's name",
    { services: [{ ...hello, name: "rest" }] },
    /services\[0\]\.name is rest, the name of the load balancer in Consul: rename it/,
  ],
  ["Consul's name", { services: [hello, { ...hello, name: "consul" }] }, /services\[1\]\.name is consul/],
  [
    "a port of the load balancer",
    { services: [{ ...db, meta: { tcp_port: 1936 } }] },
    /services\[0\] cannot be routed: .*port 1936 .*statsPort already has: choose another/,
  ],
  [
    "a port of another service",
    {
      services: [
        { ...db, meta: { tcp_port: 5432 } },
        { ...db, name: "db2", meta: { tcp_port: 5432 } },
      ],
    },
    /services\[1\] cannot be routed: .*port 5432 .*db already has: choose another/,
  ],
  [
    "two keys with the same port",
    { services: [], statsPort: 80 },
    /statsPort is 80, the same as httpPort: give/,
  ],
  ["an unknown option", { services: [{ ...hello, meta: { sticki: true } }] }, /services\[0\]\.meta\.sticki is not known: remove it, or use one of .*sticky/], // prettier-ignore
  ["an invalid option value", { services: [{ ...hello, meta: { balance: "fair" } }] }, /services\[0\] .*SERVICE_BALANCE="fair", which is none of roundrobin/], // prettier-ignore
  ["an unknown key of a service", { services: [{ ...hello, replica: 2 }] }, /services\[0\]\.replica is not known: remove it, or use one of .*replicas/], // prettier-ignore
  ["an unknown key", { services: [], httpsPrt: 443 }, /'httpsPrt', which the project does not define: correct or remove it \(known: .*httpsPort/], // prettier-ignore
  ["an invalid name", { services: [{ ...hello, name: "Hello World" }] }, /services\[0\]\.name is "Hello World": it must be lower-case words/], // prettier-ignore
  ["a duplicate name", { services: [hello, hello] }, /services\[1\]\.name is hello\/v1, a name that another service already has: rename/], // prettier-ignore
])("%s fails the preview with the key and the cure", (_, config, message) => {
  expect(preview(config)).toThrow(message);
});

test("an error in YAML names the file", () => {
  expect(() => configure("dev", { project, stack: "config: [" })).toThrow(/^Pulumi\.dev\.yaml: /);
});

test("reads a stack at a git ref", async () => {
  const dir = mkdtempSync(path.join(tmpdir(), "switchyard-test-"));
  try {
    process.chdir(dir);
    const git = (...args: string[]) =>
      execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@example.com", ...args]);
    writeFileSync("Pulumi.yaml", project);
    git("init", "-q");
    git("add", ".");
    git("commit", "-qm", "without the stack");
    writeFileSync("Pulumi.dev.yaml", "config: {}\n");
    git("add", ".");
    git("commit", "-qm", "with the stack");
    writeFileSync("Pulumi.dev.yaml", "changed\n");

    expect(await readSourcesAt("dev", "HEAD")).toEqual({ project, stack: "config: {}\n" });
    expect(await readSourcesAt("dev", "HEAD~1")).toBeUndefined();
    await expect(readSourcesAt("dev", "nowhere")).rejects.toThrow(/--base nowhere: there is no such commit/);
    await expect(readSourcesAt("dev", "--help")).rejects.toThrow(/there is no such commit/);
  } finally {
    process.chdir(home);
    rmSync(dir, { recursive: true });
  }
});
