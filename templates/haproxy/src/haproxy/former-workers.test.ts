import { expect, test } from "vitest";
import { FormerWorkers, formerWorkers } from "./former-workers";
import type { Actual } from "./types";

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

/** A worker in which a service has the address; in a slot of the pool, if `backend` is one. */
const having = (service: string, backend = `svc:${service}`, leaving = false): Actual => ({
  parts: [],
  maps: {} as Actual["maps"],
  backends: new Map([
    [
      backend,
      {
        head: "",
        servers: new Map([
          [
            `${service}::${address}`,
            {
              origin: { backend: `svc:${service}`, server: address, service },
              weight: 1,
              leaving,
              definition: undefined,
            },
          ],
        ]),
      },
    ],
  ]),
});

const routes = [
  "0x1 */a/ -|2|/a|spare:0|a",
  "0x2 */b/ -|2|/b|svc:b|b",
  "0x3 */c/ v*|2|/c|%*/c|c|c/v1=50,c/v2=50",
  "",
].join("\n");
const splits = "0x4 %*/c/0 -|2|/c|spare:0|a\n";

function workers(processes: Readonly<Record<string, string | undefined>>) {
  const told: string[] = [];
  const former = new FormerWorkers("own.sock", "/maps", (master, question) => {
    if (question === "show proc") {
      const answer = processes[master];
      return answer === undefined ? Promise.reject(new Error("gone")) : Promise.resolve(answer);
    }
    if (question.endsWith("show map /maps/routes.map")) return Promise.resolve(routes);
    if (question.endsWith("show map /maps/splits.map")) return Promise.resolve(splits);
    told.push(`${master} ${question}`);
    return Promise.resolve("\n");
  });
  return { former, told: () => told.splice(0) };
}

const closed = (master: string, worker: number) => [
  `${master} @!${worker} set map /maps/routes.map */a/ -|2|/a|none|a`,
  `${master} @!${worker} set map /maps/splits.map %*/c/0 -|2|/c|none|a`,
];

test("replaced workers are found in the master's list", () => {
  expect(formerWorkers(proc())).toEqual([]);
  expect(formerWorkers(proc(50, 60))).toEqual(["50", "60"]);
});

test("a route of a replaced worker goes once another service has its instance's address", async () => {
  const { former, told } = workers({ "own.sock": proc(50, 60) });
  former.add(having("a", "spare:0"));
  await former.follow(having("a"));
  // The address is free, so a request is tried again elsewhere.
  await former.follow(having("a", "svc:a", true));
  expect(told()).toEqual([]);
  await former.follow(having("b"));
  expect(told()).toEqual([...closed("own.sock", 50), ...closed("own.sock", 60)]);
  await former.follow(having("b"));
  expect(told()).toEqual([]);
});

test("nobody is told where no worker has been replaced", async () => {
  const { former, told } = workers({ "own.sock": proc() });
  former.add(having("a", "spare:0"));
  await former.follow(having("b"));
  expect(told()).toEqual([]);
});

test("a load balancer that has been replaced is told as well, for as long as it runs", async () => {
  const processes = { "own.sock": proc(), "before.sock": proc() as string | undefined };
  const { former, told } = workers(processes);
  const states = [{ backend: "spare:0", server: `a::${address}`, up: true, maintenance: false, weight: 1 }];
  former.addStates(states, "before.sock");
  await former.follow(having("b"));
  expect(told()).toEqual(closed("before.sock", 70));
  processes["before.sock"] = undefined;
  former.addStates(states);
  await former.follow(having("b"));
  expect(told()).toEqual([]);
});
