import { expect, test, vi } from "vitest";
import { compare } from "../../../../lib/text";
import { FormerWorkers, formerWorkers } from "./former-workers";
import type { Actual, ActualServer, Operation } from "./types";

const proc = (...old: number[]) =>
  [
    "#<PID>          <type>          <reloads>       <uptime>        <version>",
    "1               master          1               0d00h00m09s     3.0.11",
    "# workers",
    "70              worker          0               0d00h00m01s     3.0.11",
    "# old workers",
    ...old.map((pid) => `${pid}              worker          1               0d00h00m05s     3.0.11`),
    "# programs",
    "",
  ].join("\n");

const address = "10.0.0.1:8080";

/** An address that a service has; in a slot of the pool, if `backend` is one. */
interface Has {
  readonly service: string;
  readonly at?: string;
  readonly backend?: string;
}

const serverIn = ({ service, at = address }: Has) => `${service}::${at}`;
const originOf = ({ service, at = address }: Has) => ({ backend: `svc:${service}`, server: at, service });

/** A worker in which services have these addresses. */
function having(...all: readonly Has[]): Actual {
  const backends = new Map<string, { head: string; servers: Map<string, ActualServer> }>();
  for (const has of all) {
    const { service, backend = `svc:${service}` } = has;
    const found = backends.get(backend) ?? { head: "", servers: new Map<string, ActualServer>() };
    const server = { origin: originOf(has), weight: 1, leaving: false, definition: undefined };
    found.servers.set(serverIn(has), server);
    backends.set(backend, found);
  }
  return { parts: [], maps: {} as Actual["maps"], backends };
}

function change(kind: "return" | "leave", has: Has): Operation {
  const { service, backend = `svc:${service}` } = has;
  return { kind, backend, server: serverIn(has), origin: originOf(has), weight: 1 };
}
const leave = (has: Has) => change("leave", has);
const arrive = (has: Has) => change("return", has);

const a = { service: "a", backend: "spare:0" };
const b = { service: "b" };

const routes = [
  "0x1 */a/ -|2|/a|spare:0|a",
  "0x2 */b/ -|2|/b|svc:b|b",
  "0x3 */c/ v*|2|/c|%*/c|c|c/v1=50,c/v2=50",
  "0x4 */d/ -|2|/d|spare:0|d",
  "",
].join("\n");
const splits = "0x5 %*/c/0 -|2|/c|spare:0|a\n";

const session = (id: number, backend: string, server: string, state: number) =>
  `0x${id}: proto=tcpv4 src=10.0.0.9:1 fe=http be=${backend} srv=${server} ts=00 rq[f=0h] scf=[8,482h,fd=14,rex=,wex=] scb=[${state},1h,fd=-1,rex=,wex=] exp=0s`;
const sessions = [
  session(1, "spare:0", serverIn(a), 3),
  session(2, "spare:0", serverIn(a), 8),
  session(3, "spare:0", "a::10.0.0.2:8080", 3),
  session(4, "svc:b", serverIn(a), 3),
  "",
].join("\n");

function workers(
  processes: Readonly<Record<string, string | undefined>>,
  before: (question: string) => Promise<void> | undefined = () => undefined,
) {
  const asked: string[] = [];
  const former = new FormerWorkers("own.sock", "/maps", async (master, question) => {
    asked.push(`${master} ${question}`);
    await before(question);
    if (question === "show proc") {
      const answer = processes[master];
      return answer === undefined ? Promise.reject(new Error("gone")) : Promise.resolve(answer);
    }
    if (question.endsWith("show map /maps/routes.map")) return Promise.resolve(routes);
    if (question.endsWith("show map /maps/splits.map")) return Promise.resolve(splits);
    return Promise.resolve(question.endsWith("show sess") ? sessions : "\n");
  });
  const take = () => asked.splice(0);
  const follow = async (...operations: readonly Operation[]) => {
    former.note(operations);
    await former.follow();
    // Workers are told at the same time.
    const workersOf = (question: string) => question.split(" set ")[0]?.split(" shutdown ")[0] ?? "";
    return take()
      .filter((question) => !question.includes(" show "))
      .sort((one, other) => compare(workersOf(one), workersOf(other)));
  };
  return { former, take, follow };
}

const setMaps = (master: string, worker: number, to: "none" | "spare:0") => [
  `${master} @!${worker} set map /maps/routes.map */a/ -|2|/a|${to}|a`,
  `${master} @!${worker} set map /maps/splits.map %*/c/0 -|2|/c|${to}|a`,
];
const closed = (master: string, worker: number) => [
  ...setMaps(master, worker, "none"),
  `${master} @!${worker} shutdown session 0x1`,
];

test("requests that wait in replaced workers get the servers of their service, where it is there", async () => {
  const asked: string[] = [];
  let held = "0x1: key=a use=2 exp=0 shard=0 conn_cur=2\n0x2: key=b use=0 exp=9 shard=0 conn_cur=0\n";
  const former = new FormerWorkers("own.sock", "/maps", (_, question) => {
    if (question === "show proc") return Promise.resolve(proc(50));
    if (question === "@!50 show table held") return Promise.resolve(held);
    if (question === "@!50 show map /maps/routes.map") return Promise.resolve(routes);
    asked.push(question);
    return Promise.resolve(question.endsWith("show sess") ? sessions : "\n");
  });
  former.add(having(), having());
  const servers = vi.fn((service: string) =>
    Promise.resolve([
      {
        name: address,
        definition: `${address} check`,
        origin: { backend: `svc:${service}`, server: address },
      },
    ]),
  );
  expect(await former.wake(servers)).toBe(true);
  expect(asked.splice(0)).toEqual([`@!50 add server spare:0/woken:${address} ${address} check`]);
  former.note([leave({ service: "a" })]);
  await former.follow();
  expect(asked).toContain("@!50 set map /maps/routes.map */a/ -|2|/a|none|a");
  held = "";
  servers.mockClear();
  expect(await former.wake(servers)).toBe(false);
  expect(servers).not.toHaveBeenCalled();
});

test("replaced workers are found in the master's list", () => {
  expect(formerWorkers(proc())).toEqual([]);
  expect(formerWorkers(proc(50, 60))).toEqual(["50", "60"]);
});

test("a service whose last instance leaves has no route and no waiting request in replaced workers until it is back", async () => {
  const { former, follow, take } = workers({ "own.sock": proc(50, 60) });
  former.add(having(a), having({ service: "a" }));
  expect(await follow()).toEqual([]);
  expect(await follow(leave({ service: "a" }))).toEqual([
    ...closed("own.sock", 50),
    ...closed("own.sock", 60),
  ]);
  // What has not changed is not asked for.
  expect(await follow()).toEqual([]);
  await follow(arrive({ service: "a", at: "10.0.0.9:1" }));
  expect(take()).toEqual([]);
  expect(await follow(arrive({ service: "a" }))).toEqual([
    ...setMaps("own.sock", 50, "spare:0"),
    ...setMaps("own.sock", 60, "spare:0"),
  ]);
});

test("an instance that leaves others behind takes the routes away once another service has its address", async () => {
  const { former, follow } = workers({ "own.sock": proc(50) });
  const both = [a, { ...a, at: "10.0.0.3:8080" }];
  former.add(having(...both), having(...both));
  expect(await follow()).toEqual([]);
  // A request that waits there is tried again elsewhere.
  expect(await follow(leave(a))).toEqual([]);
  expect(await follow(arrive(b))).toEqual(closed("own.sock", 50));
  expect(await follow(leave(b))).toEqual(setMaps("own.sock", 50, "spare:0"));
});

test("what changed with the reload counts as well", async () => {
  const { former, follow } = workers({ "own.sock": proc(50) });
  former.add(having(a), having(b));
  expect(await follow()).toEqual(closed("own.sock", 50));
});

test("each worker loses its routes, also one that is replaced later", async () => {
  const processes = { "own.sock": proc(50) };
  const { former, follow } = workers(processes);
  former.add(having(a), having(b));
  expect(await follow()).toEqual(closed("own.sock", 50));
  processes["own.sock"] = proc(50, 60);
  former.add(having(a, b), having(b));
  expect(await follow()).toEqual(["own.sock @!50 shutdown session 0x1", ...closed("own.sock", 60)]);
});

test("workers that do not answer are told again", async () => {
  const processes = { "own.sock": undefined as string | undefined };
  const { former, follow } = workers(processes);
  former.add(having(a), having(b));
  await expect(follow()).rejects.toThrow("gone");
  processes["own.sock"] = proc(50);
  expect(await follow()).toEqual(closed("own.sock", 50));
});

test("a worker that does not answer delays no other, and gets what has changed meanwhile once it does", async () => {
  let answer: () => void = () => undefined;
  const deaf = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const { former, take } = workers({ "own.sock": proc(50, 60) }, (question) =>
    question.startsWith("@!50") ? deaf : undefined,
  );
  former.add(having(a), having(a));
  former.note([leave(a)]);
  const first = former.follow();
  await vi.waitFor(() => {
    expect(take().join()).toContain("@!60 shutdown");
  });
  former.note([arrive(a)]);
  await former.follow();
  expect(take()).toEqual(expect.arrayContaining(setMaps("own.sock", 60, "spare:0")));
  answer();
  await first;
  expect(take().filter((question) => question.includes(" set "))).toEqual([
    ...setMaps("own.sock", 50, "none"),
    ...setMaps("own.sock", 50, "spare:0"),
  ]);
});

test("workers that have ended are forgotten", async () => {
  const { former, follow, take } = workers({ "own.sock": proc() });
  former.add(having(a), having(b));
  expect(await follow()).toEqual([]);
  former.note([leave(b), arrive(b)]);
  await former.follow();
  expect(take()).toEqual([]);
});

test("a load balancer that has been replaced is told as well, for as long as it runs", async () => {
  const processes = { "own.sock": proc(), "before.sock": proc() as string | undefined };
  const { former, follow } = workers(processes);
  const states = [{ backend: "spare:0", server: serverIn(a), up: true, maintenance: false, weight: 1 }];
  former.addStates(states, having(b), "before.sock");
  expect(await follow()).toEqual(closed("before.sock", 70));
  processes["before.sock"] = undefined;
  former.addStates(states, having(b));
  expect(await follow()).toEqual([]);
});
