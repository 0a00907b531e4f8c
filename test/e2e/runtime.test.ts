import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { baseImage, consulImage } from "./bases";
import { badInput } from "./bad-input";
import { inBrowser } from "./browser";
import { emptyConsul, putKey } from "./consul";
import {
  belongings,
  claimEngineUntilRemoved,
  docker,
  lines,
  removeContainers,
  stackContainers,
  tasks,
} from "./docker";
import { hostileInput } from "./hostile";
import { get, startLoad, until } from "./http";
import { scratch } from "./scratch";
import { secondStack, stack, succeeded, type ServiceEntry, type TestStack } from "./stack";
import { afterwards, tearDown } from "./tear-down";

// The life of one stack, in order: each part starts from the state that the previous one left.

/** The example service, which answers with its configured name. */
const hello = (name: string, more: Readonly<Record<string, unknown>> = {}): ServiceEntry => ({
  name,
  build: "hello",
  port: 8080,
  env: { NAME: name },
  ...more,
});
/** It may finish long requests when it is stopped. */
const patient = {
  stopGracePeriodSeconds: 70,
  env: { NAME: "hello/v1", GRACE_SECONDS: "68" },
  meta: { timeout_server: "70s" },
};
const initial = [
  hello("hello/v1", { replicas: 3, ...patient }),
  hello("hello/v2", { replicas: 2 }),
  hello("time", { healthCheck: { command: ["bash", "/app/healthcheck.sh"] } }),
];
const base = "http://localhost";
const noFailures = {};

let before: Awaited<ReturnType<typeof belongings>>;

beforeAll(async () => {
  await claimEngineUntilRemoved(() => stack.remove());
  // A container of the user's own, which must survive.
  await docker("run", "-d", "--name", "e2e-bystander", baseImage, "sleep", "3600");
  afterwards(() => removeContainers("e2e-bystander"));
  before = await belongings();
});

afterAll(tearDown);

describe("a mistake", () => {
  badInput(initial);
});

describe("a preview", () => {
  test("shows the routes without a Docker Engine, reports its absence and leaves the stack file unchanged", async () => {
    stack.configure(initial, { dockerHost: "unix:///nowhere/docker.sock" });
    const file = await readFile("Pulumi.e2e.yaml", "utf8");
    const { code, output } = await stack.preview();
    expect(output).toContain("a Docker Engine at unix:///nowhere/docker.sock: start it");
    expect(output).toContain("+ /hello/v1 -> hello/v1");
    expect(code).toBe(0);
    expect(await readFile("Pulumi.e2e.yaml", "utf8")).toBe(file);
  });

  test("fails on an unroutable service before it contacts an engine", async () => {
    stack.configure([...initial, hello("other", { meta: { path: "/time" } })]);
    const { code, output } = await stack.preview("--json");
    expect(output).toMatch(/^error: Configuration switchyard:services\[3\] cannot be routed: .*\/time/m);
    expect(code).toBe(1);
  });
});

describe("first up", () => {
  test("creates a working runtime and prints its URLs", async () => {
    stack.configure(initial);
    const { code, output } = await stack.up();
    expect(output).toContain("http://localhost/hello/v1");
    expect(output).toContain("http://localhost:1936");
    expect(code).toBe(0);
  });

  test("a second up changes nothing", async () => {
    const { code, output, seconds } = await stack.up("--expect-no-changes");
    expect({ code, output }).toMatchObject({ code: 0 });
    console.log(`an unchanged up took ${seconds.toFixed(1)} s`);
  });

  test("another stack on the same engine is refused before anything is made, and harms nothing", async () => {
    // Swarm may replace instances meanwhile, on a busy machine.
    const running = async () => ({
      infrastructure: await docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", ...stackContainers),
      services: await docker("service", "ls", "--format", "{{.ID}} {{.Name}}"),
      volumes: (await belongings())["volumes"],
    });
    const unharmed = await running();
    const refused = async (other: TestStack, problem: string) => {
      for (const command of ["preview", "up"] as const) {
        const output = expect.stringContaining(problem) as string;
        expect(await other[command]()).toMatchObject({ code: 1, output });
        expect(await running()).toEqual(unharmed);
      }
    };
    secondStack.configure([hello("second")]);
    await refused(secondStack, `already runs stack "${stack.owner}", and has room for one`);
    expect(await secondStack.down()).toMatchObject({ code: 0 });
    await stack.withoutState(async () => {
      await refused(stack, "this state does not know it");
      expect(await stack.down()).toMatchObject({ code: 0 });
      expect(await running()).toEqual(unharmed);
    });
    secondStack.forget();
    expect(await running()).toEqual(unharmed);
    expect(await stack.up("--expect-no-changes")).toMatchObject({ code: 0 });
  });

  test("a secret variable reaches its service, but no output and no state", async () => {
    succeeded(await stack.setSecret("services[2].env.TOKEN", "a-well-kept-word"));
    const { code, output } = await stack.up();
    expect({ code, output }).toMatchObject({ code: 0 });
    expect(await docker("service", "inspect", "time")).toContain("TOKEN=a-well-kept-word");

    expect(output).not.toContain("a-well-kept-word");
    expectNotInState("a-well-kept-word");
    succeeded(await stack.setSecret("services[2].meta.path", "/hush"));
    expect(await stack.up()).toMatchObject({
      code: 1,
      output: expect.stringContaining("services[2].meta.path is secret, but") as string,
    });
  });
});

/** What the worker has written. */
const ledger = async () => {
  const [task = ""] = await tasks("ledger");
  return docker("exec", task, "cat", "/data/log").catch(() => "");
};

describe("a worker", () => {
  const { path: context } = scratch();
  const dockerfile = `
    ARG BASE
    FROM $BASE
    COPY . /app
    RUN --mount=type=secret,id=pin sha256sum </run/secrets/pin >/digest`;
  writeFileSync(join(context, "Dockerfile"), dockerfile);
  writeFileSync(join(context, ".dockerignore"), "*.log");
  for (const file of ["kept", "left-out.log"]) writeFileSync(join(context, file), "");
  const report = {
    name: "shop/report",
    image: baseImage,
    command: ["sh", "-c", "echo in the log; exit 3"],
    schedule: "0 0 1 1 *",
  };
  const note = (content: string, migrate = "echo migrated; touch /data/migrated") => {
    const worker = {
      name: "ledger",
      type: "none",
      build: { context, args: { BASE: baseImage }, secrets: ["pin"] },
      command: [
        "sh",
        "-c",
        "test -e /data/migrated && cat /run/secrets/pin /etc/note >>/data/log; exec sleep 3600",
      ],
      volumes: ["ledger:/data"],
      secrets: ["pin"],
      configs: [{ source: "note", target: "/etc/note" }],
      before: ["sh", "-c", migrate],
    };
    stack.configure([...initial, worker, report], { configs: { note: { content } } });
  };

  test("that keeps exiting fails up with its log, and is removed", async () => {
    const command = ["sh", "-c", "sleep 1; echo no such database >&2; exit 7"];
    stack.configure([...initial, { name: "ledger", type: "none", image: baseImage, command }]);
    const { code, output } = await stack.up();
    expect(code).not.toBe(0);
    expect(output).toMatch(
      /Service ledger keeps exiting: .*non-zero exit \(7\)\s+Its last log lines:\s+no such database/s,
    );
    expect(await docker("service", "ls", "-q", "--filter", "name=ledger")).toBe("");
  });

  test("keeps its data through a rollout, with the secret and the config of the day", async () => {
    let expected = "";
    for (const [secret, content] of [
      ["word-of-monday", " one\n"],
      ["word-of-tuesday", " two\n"],
    ] as const) {
      note(content);
      succeeded(await stack.setSecret("secrets.pin", secret));
      const { output } = succeeded(await stack.up());
      expected += secret + content;
      await expect.poll(ledger).toBe(expected.trim());
      expect(output).toMatch(/ledger: before has succeeded\. Its last log lines:\s+migrated/);
      expect(output).not.toContain(secret);
      expectNotInState(secret);
      expectNotInState(Buffer.from(secret).toString("base64"));
      for (const kind of ["secret", "config"])
        expect(
          lines(await docker(kind, "ls", "-q", "--filter", `label=switchyard.owner=${stack.owner}`)),
        ).toHaveLength(1);
    }
  });

  test("stays as it is if what runs before a rollout fails", async () => {
    const [unchanged, written] = [await tasks("ledger"), await ledger()];
    note(" three\n", "echo no such table >&2; exit 7");
    succeeded(await stack.setSecret("secrets.pin", "word-of-tuesday"));
    const { code, output } = await stack.up();
    expect(code).not.toBe(0);
    expect(output).toContain(
      "before of service ledger failed with exit code 7, so nothing of the service has changed",
    );
    expect(output).toContain("no such table");
    expect([await tasks("ledger"), await ledger()]).toEqual([unchanged, written]);
    expect(await docker("ps", "-aq", "--filter", "name=ledger-before")).toBe("");
  });
});

describe("a job", () => {
  test("runs by hand, with its log and its exit code", async () => {
    const result = await stack.run("shop/report");
    expect(result).toMatchObject({ code: 3, output: expect.stringContaining("in the log") as string });
    expect(await stack.run("time")).toMatchObject({
      code: 1,
      output: expect.stringContaining(
        "time has no schedule in the deployed stack: name one of shop/report",
      ) as string,
    });
  });

  test("is told of with its last run", async () => {
    const told = async () => (await get("http://localhost:8404/explain?url=/shop/report")).body;
    await expect
      .poll(told, { timeout: 60_000 })
      .toMatch(/shop\/report: a job, 0 0 1 1 \*.*failed with exit code 3.*by hand/);
  });

  test("runs the image of a folder anywhere, whose build has read a secret that is in no layer", async () => {
    const [task = ""] = await tasks("ledger");
    const digest = createHash("sha256").update("word-of-monday").digest("hex");
    expect(await docker("exec", task, "cat", "/digest")).toContain(digest);
    expect(lines(await docker("exec", task, "ls", "-A", "/app"))).toEqual([
      ".dockerignore",
      "Dockerfile",
      "kept",
    ]);
    const inImage = ["-c", "cat /run/secrets/pin 2>/dev/null || true"];
    expect(await docker("run", "--rm", "--entrypoint", "sh", await imageOf("ledger"), ...inImage)).toBe("");
    expect(await docker("history", "--no-trunc", await imageOf("ledger"))).not.toContain("word-of-");
  });
});

describe("routing", () => {
  test.each([
    ["/hello/v1", "hello/v1"],
    ["/hello/v1/", "hello/v1"],
    ["/hello/v1/deep/er?q=1", "hello/v1"],
    ["/hello/v2", "hello/v2"],
    ["/hello", "hello/v2"],
    ["/hello/v1x", "hello/v2"],
    ["/time", "time"],
  ])("%s is answered by %s", async (path, service) => {
    const answer = await get(base + path);
    expect(answer).toMatchObject({ status: 200 });
    expect(JSON.parse(answer.body)).toMatchObject({ service });
  });

  test("the service sees its own paths and its prefix", async () => {
    const { body } = await get(`${base}/hello/v1/deep/er?q=1`);
    expect(JSON.parse(body)).toMatchObject({
      path: "/deep/er",
      headers: { "x-forwarded-prefix": "/hello/v1" },
    });
  });

  test.each(["/", "/nothing", "/hello/v10", "/hello/v3/x", "/hellov1"])(
    "%s gets a 404 in JSON",
    async (path) => {
      const answer = await get(base + path);
      expect(answer).toMatchObject({ status: 404, headers: { "content-type": "application/json" } });
      expect(JSON.parse(answer.body)).toHaveProperty("error");
    },
  );

  test("requests are spread over all instances", async () => {
    const hosts = new Set<unknown>();
    for (let i = 0; i < 12; i++) {
      const answer = JSON.parse((await get(`${base}/hello/v1`)).body) as Record<string, unknown>;
      expect(answer).toHaveProperty("timestamp");
      hosts.add(answer["hostname"]);
    }
    expect(hosts.size).toBe(3);
  });

  test("docker logs rest shows each request", async () => {
    await get(`${base}/hello/v1/seen-in-the-log`);
    await expect.poll(() => docker("logs", "--tail", "50", "rest")).toContain("/hello/v1/seen-in-the-log");
  });

  test("the statistics page requires user and password", async () => {
    const { user, password } = await credentials();
    expect((await get("http://localhost:1936")).status).toBe(401);
    expect((await get("http://localhost:1936", { auth: `${user}:wrong` })).status).toBe(401);
    const page = await get("http://localhost:1936", { auth: `${user}:${password}` });
    expect(page.status).toBe(200);
    expect(page.body).toContain("Statistics Report");
  });

  test("a browser shows the statistics page and Consul's UI", async () => {
    const { user, password } = await credentials();
    await inBrowser(
      async (page) => {
        await page.goto("http://localhost:1936");
        await page.getByText("Statistics Report").waitFor();
      },
      { username: user, password },
    );
    await inBrowser(async (page) => {
      await page.goto("http://localhost:8500");
      await page.getByText("hello/v1").first().waitFor();
    });
  });

  test("an instance resolves rest.service.consul and public names", async () => {
    const [instance = ""] = await tasks("hello-v1");
    const inside = (code: string) => docker("exec", instance, "node", "-e", code);
    const answer = await inside(
      'fetch("http://rest.service.consul/hello/v2").then((r) => r.text()).then(console.log)',
    );
    expect(JSON.parse(answer)).toMatchObject({ service: "hello/v2" });
    // A name that certainly exists: the source of the image's packages.
    const outside = await inside(`
      const source = ["/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources"]
        .map((file) => { try { return fs.readFileSync(file, "utf8"); } catch { return ""; } }).join();
      const host = /https?:\\/\\/([^/\\s]+)/.exec(source)[1];
      dns.lookup(host, (error, address) => console.log(error ? error.message : address));
    `);
    expect(outside).toMatch(/^[0-9a-f.:]+$/);
  });
});

describe("an undeclared container", () => {
  test("is routed when it starts and removed when it stops", async () => {
    const image = await imageOf("hello-v1");
    const args = ["-e", "SERVICE_NAME=foo/v1", "-e", "SERVICE_TAGS=rest"];
    const id = await docker("run", "-d", "-P", ...args, image);
    try {
      const answer = await until(`${base}/foo/v1`, ({ status }) => status === 200, { seconds: 5 });
      expect(answer.status).toBe(200);
    } finally {
      await docker("rm", "-f", id);
    }
    const gone = await until(`${base}/foo/v1`, ({ status }) => status === 404, { seconds: 2 });
    expect(gone.status).toBe(404);
  });
});

describe("a container that Swarm's ingress network publishes", () => {
  test("is not routed, which the status, the log and explain say with the reason", async () => {
    const admin = "http://localhost:8404";
    const why = async (): Promise<string | undefined> => {
      const { unrouted } = JSON.parse((await get(`${admin}/routes`)).body) as {
        unrouted: { subject: string; message: string }[];
      };
      return unrouted.find(({ subject }) => subject === "meshed")?.message;
    };
    const sentence =
      "its ports are published through Swarm's ingress network, which hides the instances; publish them with mode=host";
    const settings = ["--env", "SERVICE_NAME=meshed", "--env", "SERVICE_TAGS=rest"];
    // By this label, the next run knows what an interrupted one left.
    const own = ["--name", "e2e-meshed", "--label", `switchyard.owner=${stack.owner}`];
    const args = ["--detach", "--no-resolve-image", ...own, ...settings, "--publish", "8080"];
    await docker("service", "create", ...args, await imageOf("hello-v1"));
    try {
      await expect.poll(why, { timeout: 60_000 }).toContain(sentence);
      expect(await docker("logs", "registrator")).toMatch(
        new RegExp(`container e2e-meshed\\.1\\.\\w+: not registered: ${sentence}$`, "m"),
      );
      expect(await docker("logs", "rest")).toMatch(
        new RegExp(`unrouted: Container "e2e-meshed\\.1\\.\\w+" .*${sentence}`),
      );
      const { body } = await get(`${admin}/explain?url=/meshed`);
      expect(body).toContain("/meshed: 404");
      expect(body).toMatch(new RegExp(`^perhaps +meshed: unrouted: .*${sentence}`, "m"));
    } finally {
      await docker("service", "rm", "e2e-meshed");
    }
    await expect.poll(why, { timeout: 30_000 }).toBeUndefined();
  });
});

describe("hostile input", () => {
  hostileInput("time", () => imageOf("hello-v1"));
});

describe("under constant load", () => {
  const updated: readonly ServiceEntry[] = [
    {
      ...hello("hello/v1", { replicas: 3, ...patient }),
      build: undefined,
      image: "e2e/hello:next",
      healthCheck: "image",
    },
    ...initial.slice(1),
  ];

  test("scaling 3 → 6 → 2 fails no request and restarts no remaining instance", async () => {
    const first = await tasks("hello-v1");
    const load = startLoad(`${base}/hello/v1`);

    stack.configure([hello("hello/v1", { replicas: 6, ...patient }), ...initial.slice(1)]);
    const preview = await stack.preview();
    expect(preview.output).toMatch(/"hello\/v1 × 3" => "hello\/v1 × 6"/);
    expect(preview.output).toContain("~ hello/v1: 6 instances, was 3 instances");
    expect(preview.output).toContain("At run time: 3 operations, no reload: hello/v1 +3 instances.");
    expect(await stack.up()).toMatchObject({ code: 0 });
    const six = await tasks("hello-v1");
    expect(six).toHaveLength(6);
    expect(six).toEqual(expect.arrayContaining(first));

    stack.configure([hello("hello/v1", { replicas: 2, ...patient }), ...initial.slice(1)]);
    expect(await stack.up()).toMatchObject({ code: 0 });
    await expect.poll(() => tasks("hello-v1"), { timeout: 30_000 }).toHaveLength(2);
    expect(six).toEqual(expect.arrayContaining(await tasks("hello-v1")));

    const result = await load.stop();
    expect(result.failures).toEqual(noFailures);
    expect(result.requests).toBeGreaterThan(1_000);
  }, 240_000);

  test("in a range the load decides how many instances there are, and up leaves that alone", async () => {
    const ranged = (max: number) => [
      hello("hello/v1", { replicas: { min: 2, max, rate: 1 }, ...patient }),
      ...initial.slice(1),
    ];
    const load = startLoad(`${base}/hello/v1`);
    stack.configure(ranged(4));
    expect(await stack.up()).toMatchObject({ code: 0 });
    await expect.poll(() => tasks("hello-v1"), { timeout: 60_000 }).toHaveLength(4);
    const { code, output } = await stack.up("--expect-no-changes");
    expect({ code, output }).toMatchObject({ code: 0 });

    stack.configure(ranged(3));
    expect((await stack.preview()).output).toContain(
      "~ hello/v1 replicas: 2 to 3 (rate 1), was 2 to 4 (rate 1)",
    );
    expect(await stack.up()).toMatchObject({ code: 0 });
    expect(await tasks("hello-v1")).toHaveLength(3);
    expect((await load.stop()).failures).toEqual(noFailures);
  }, 240_000);

  test("a rolling update of the image fails no request, not even long ones", async () => {
    const old = await tasks("hello-v1");
    await docker("tag", await imageOf("hello-v1"), "e2e/hello:old");
    await buildOnTop("e2e/hello:next", "e2e/hello:old");
    // Longer than a request may take, and an instance has when it is stopped, by default.
    const long = ["a", "b", "c", "d"].map(() => get(`${base}/hello/v1?wait=52000`, { timeout: 80_000 }));
    const load = startLoad(`${base}/hello/v1`);

    stack.configure(updated);
    expect(await stack.up()).toMatchObject({ code: 0 });
    const fresh = await tasks("hello-v1");
    expect(fresh).toHaveLength(3);
    expect(fresh.filter((id) => old.includes(id))).toEqual([]);
    expect(await imageOf("hello-v1")).toBe("e2e/hello:next");
    for (const { status, body } of await Promise.all(long))
      expect({ status, body }).toMatchObject({ status: 200 });

    const result = await load.stop();
    expect(result.failures).toEqual(noFailures);
    expect(result.requests).toBeGreaterThan(1_000);
  }, 240_000);

  test("an update that replaces the load balancer fails no request, not even a long one", async () => {
    const replaced = await docker("inspect", "-f", "{{.Id}}", "rest");
    const long = get(`${base}/hello/v1?wait=20000`, { timeout: 40_000 });
    const load = startLoad(`${base}/hello/v1`);
    stack.configure(updated, { statsPort: 1937 });
    const { code, output } = await stack.up();
    expect({ code, output }).toMatchObject({ code: 0 });
    expect((await get("http://localhost:1937")).status).toBe(401);
    expect(await docker("inspect", "-f", "{{.Id}}", "rest")).not.toBe(replaced);
    expect(await long).toMatchObject({ status: 200 });
    expect((await load.stop()).failures).toEqual(noFailures);
  });

  test("restarting and emptying Consul fail no request", async () => {
    const load = startLoad(`${base}/hello/v1`);
    await docker("restart", "-t", "1", "consul");
    await until("http://localhost:8500/v1/status/leader", ({ body }) => body.length > 4);
    await sleep(3000);

    await emptyConsul();
    await until("http://localhost:8500/v1/catalog/service/time", ({ body }) => body.includes("ServicePort"));
    await sleep(3000);

    const result = await load.stop();
    expect(result.failures).toEqual(noFailures);
    expect((await get(`${base}/time`)).status).toBe(200);
  });
});

describe("an update of Consul and Registrator", () => {
  test("fails no request, loses no registration and catches up with what happened meanwhile", async () => {
    await buildOnTop("e2e/consul:next", consulImage);
    // Parts before this one have changed services.
    stack.configure(initial);
    succeeded(await stack.up());
    await docker("tag", await docker("inspect", "-f", "{{.Config.Image}}", "registrator"), "e2e/registrator");
    await buildOnTop("e2e/registrator:next", "e2e/registrator");
    const image = await imageOf("time");
    const start = async (name: string) => {
      const id = await docker(
        "run",
        "-d",
        "-P",
        "-e",
        `SERVICE_NAME=${name}`,
        "-e",
        "SERVICE_TAGS=rest",
        image,
      );
      afterwards(() => removeContainers(id));
      return id;
    };
    const stays = await start("moving/v1");
    const leaves = await start("moving/v1");
    await expect.poll(() => registered("moving/v1")).toHaveLength(2);
    expect((await until(`${base}/moving/v1`, ({ status }) => status === 200)).status).toBe(200);
    await putKey("kept", "value");
    const before = await registered();
    const loads = ["hello/v1", "moving/v1"].map((path) => startLoad(`${base}/${path}`, { perSecond: 300 }));

    const started = firstEvent("consul", "die").then(() => start("late/v1"));
    const stopped = firstEvent("registrator", "die").then(() => docker("stop", leaves));
    const settings = { consulImage: "e2e/consul:next", registratorImage: "e2e/registrator:next" };
    stack.configure(initial, settings);
    succeeded(await stack.up());
    await Promise.all([started, stopped]);
    expect((await until(`${base}/late/v1`, ({ status }) => status === 200)).status).toBe(200);
    await expect.poll(() => registered("moving/v1"), { timeout: 30_000 }).toHaveLength(1);

    for (const load of loads) expect((await load.stop()).failures).toEqual(noFailures);
    const name = await docker("inspect", "-f", "{{.Name}}", leaves);
    const kept = before.filter((id) => !id.includes(`:${name.slice(1)}:`));
    expect(kept).toHaveLength(before.length - 1);
    expect(await registered()).toEqual(expect.arrayContaining(kept));
    expect(await docker("exec", "consul", "consul", "kv", "get", "kept")).toBe("value");
    await removeContainers(stays, leaves, await started);
  });
});

describe("what was removed by hand", () => {
  test("is named by a preview, with its routes, and comes back", async () => {
    await removeContainers("registrator");
    await docker("service", "rm", "time");
    await docker("service", "scale", "-d", "hello-v2=1");
    const { code, output } = await stack.preview();
    expect({ code, output }).toMatchObject({ code: 0 });
    const gone = [...output.matchAll(/^"(\S+)" \(.*\) no longer exists/gm)].map(([, name]) => name);
    expect(gone.sort()).toEqual(["registrator-local", "time"]);
    expect(output).toContain("Something else changed hello/v2 (replicas), which up changes back.");
    expect(output).not.toContain("(refresh)");
    expect(output).toMatch(/^ +\+ \/time -> time$/m);
    const comment = await stack.preview("--markdown");
    expect(comment.output).toMatch(/^> Something else removed 2 resources, .*Container registrator-local/m);

    succeeded(await stack.up());
    expect((await until(`${base}/time`, ({ status }) => status === 200)).status).toBe(200);
    expect(await docker("inspect", "-f", "{{.State.Status}}", "registrator")).toBe("running");
    expect(await tasks("hello-v2")).toHaveLength(2);
    // Docker's provider looks for a missing container for 15 s.
  }, 300_000);
});

describe("down", () => {
  test("removes everything the stack created and nothing else", async () => {
    expect(await stack.down()).toMatchObject({ code: 0 });
    const volumes = [before["volumes"] ?? []].flat();
    const kept = { ...before, volumes: [...volumes, "e2e_ledger"].sort() };
    await expect.poll(belongings, { timeout: 30_000 }).toEqual(kept);
    expect(await stack.down("--volumes")).toMatchObject({ code: 0 });
    expect(await belongings()).toEqual(before);
  });
});

/** Settles when something happens to a container for the first time from now on. */
function firstEvent(container: string, event: string): Promise<void> {
  const child = spawn("docker", [
    "events",
    "--filter",
    `container=${container}`,
    "--filter",
    `event=${event}`,
  ]);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.stdout.once("data", () => {
      child.kill();
      resolve();
    });
  });
}

/** IDs in Consul of the instances of a service, or of all. */
async function registered(service?: string): Promise<string[]> {
  const { body } = await get("http://localhost:8500/v1/agent/services");
  const services = Object.values(JSON.parse(body) as Record<string, { ID: string; Service: string }>);
  return services.filter(({ Service }) => service === undefined || Service === service).map(({ ID }) => ID);
}

function expectNotInState(secret: string): void {
  const files = readdirSync(".switchyard", { recursive: true, withFileTypes: true });
  for (const { name, parentPath } of files.filter((file) => file.isFile()))
    expect(readFileSync(join(parentPath, name), "utf8"), name).not.toContain(secret);
}

async function credentials(): Promise<{ user: string; password: string }> {
  const { output } = await stack.outputs("--json", "--show-secrets");
  const outputs = JSON.parse(output.slice(output.indexOf("{"))) as Record<string, string>;
  expect(outputs["nodesWanted"]).toBe(0);
  return { user: outputs["statsUser"] ?? "", password: outputs["statsPassword"] ?? "" };
}

function imageOf(service: string): Promise<string> {
  return docker("service", "inspect", service, "--format", "{{.Spec.TaskTemplate.ContainerSpec.Image}}");
}

/** The same image with one more layer, so it has a different ID. */
async function buildOnTop(tag: string, from: string): Promise<void> {
  const container = await docker("create", from);
  await docker("commit", "--change", "LABEL e2e=next", container, tag);
  await removeContainers(container);
}
