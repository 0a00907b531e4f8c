import { expect, it } from "vitest";

import { exchange, findEarlier, finishEarlier, type Exchange } from "./exchange";
import { UnclearExchange } from "./node";
import type { User } from "./services";

interface World {
  /** The identity of each folder, by volume. */
  readonly data: Record<string, string>;
  readonly marks: Map<string, Readonly<Record<string, string>>>;
  /** What fails, by what is done: `exchange v`, or `exchange v again` the second time. */
  readonly failures: Record<string, string>;
  readonly did: string[];
  readonly said: string[];
}

const markOf = (first: string, ...mark: object[]) =>
  [`${first}.exchanging`, { "switchyard.exchange": JSON.stringify(mark) }] as const;
const marked = (volume: string) => ({ volume, folder: "data", old: `old ${volume}`, new: `new ${volume}` });

/** A node with volumes, as exchanges see it. */
function world({ data, marks = new Map(), failures = {} }: Partial<World>): World & { at: Exchange } {
  const made = {
    data: data ?? { v: "old v", "v.restore": "new v" },
    marks,
    failures,
    did: [],
    said: [],
  } as World;
  const done = (what: string) => {
    const failure = failures[made.did.includes(what) ? `${what} again` : what];
    made.did.push(what);
    if (failure === undefined) return Promise.resolve();
    return Promise.reject(failure === "unclear" ? new UnclearExchange(failure) : new Error(failure));
  };
  const at = {
    node: {
      node: { name: "one" },
      freshVolume: (name: string, labels: Readonly<Record<string, string>>) => {
        marks.set(name, labels);
        return Promise.resolve();
      },
      removeVolume: (name: string) => done(`remove ${name}`).then(() => marks.delete(name)),
      labelled: () => Promise.resolve([...marks].map(([name, labels]) => ({ name, labels }))),
    },
    exchanger: {
      identityOf: ([volume]: readonly string[]) => Promise.resolve(made.data[volume ?? ""]),
      exchange: ([one = ""]: readonly string[], [other = ""]: readonly string[]) =>
        done(`exchange ${one}`).then(() => {
          const { [one]: first = "", [other]: second = "" } = made.data;
          made.data[one] = second;
          made.data[other] = first;
        }),
    },
    services: {
      stop: () => done("stop"),
      start: () => done("start"),
      release: () => done("release"),
    },
    volumes: Object.keys(made.data).filter((name) => !name.endsWith(".restore")),
    say: (line: string) => made.said.push(line),
  };
  return { ...made, at: at as unknown as Exchange };
}

const users: User[] = [{ id: "s1", name: "dev-database", volumes: ["v", "w"], replicas: 1, held: true }];
const usersOf = () => Promise.resolve(users);
const folders = new Map([["v", "data"]]);

it("exchanges the data while the services are stopped, and leaves no marks", async () => {
  const { at, did, data, marks } = world({});
  await exchange(at, users, folders);
  expect(did).toEqual(["stop", "exchange v", "start", "remove v.exchanging"]);
  expect(data).toEqual({ v: "new v", "v.restore": "old v" });
  expect(marks.size).toBe(0);
});

it("starts the services again and names the cause, even if a mark cannot be removed", async () => {
  const failures = { "exchange v": "no space", "remove v.exchanging": "busy" };
  const { at, did, said } = world({ failures });
  await expect(exchange(at, users, folders)).rejects.toThrow("no space");
  expect(did).toEqual(["stop", "exchange v", "start", "remove v.exchanging"]);
  expect(said).toContain("busy");
});

it("lets the services of an interrupted restore start, even if a mark cannot be removed", async () => {
  const { at, did } = world({
    marks: new Map([markOf("v", marked("v"))]),
    failures: { "remove v.exchanging": "busy" },
  });
  const [earlier] = await findEarlier(at, users, usersOf);
  await expect(earlier && finishEarlier(earlier)).rejects.toThrow("busy");
  expect(did).toContain("release");
});

const released = users.map((user) => ({ ...user, held: false }));

it.each([
  ["old v", "does not run"],
  ["new v", undefined],
])(
  "changes nothing until an interrupted restore is finished, which leaves the %s data",
  async (left, failure) => {
    const { at, did, data } = world({
      data: { v: "new v", "v.restore": "old v" },
      marks: new Map([markOf("v", marked("v"))]),
      failures: failure === undefined ? {} : { start: failure },
    });
    const earlier = await findEarlier(at, released, usersOf);
    expect(earlier.map(({ exchanged }) => exchanged.length)).toEqual([1]);
    expect(did).toEqual([]);
    for (const each of earlier) await finishEarlier(each);
    expect(data["v"]).toBe(left);
  },
);

it("finds nothing to finish without marks and held services", async () => {
  expect(await findEarlier(world({}).at, released, usersOf)).toEqual([]);
  const marks = new Map([markOf("other", marked("other"))]);
  expect(await findEarlier(world({ marks }).at, released, usersOf)).toEqual([]);
});

it("lets services start that an interrupted restore only stopped", async () => {
  const { at, did } = world({});
  for (const each of await findEarlier(at, users, usersOf)) await finishEarlier(each);
  expect(did).toEqual(["release"]);
});

it("says which services may be stopped if it cannot be known what was exchanged", async () => {
  const unknown = /docker volume rm v.exchanging v.restore. dev-database may be stopped: script\/up starts/;
  const neither = world({
    data: { v: "else", "v.restore": "?" },
    marks: new Map([markOf("v", marked("v"))]),
  });
  await expect(findEarlier(neither.at, users, usersOf)).rejects.toThrow(unknown);
  const unread = world({ marks: new Map([markOf("v")]) });
  await expect(findEarlier(unread.at, users, usersOf)).rejects.toThrow(unknown);
});

const two = { v: "old v", "v.restore": "new v", w: "old w", "w.restore": "new w" };
const halfway = { v: "new v", "v.restore": "old v", w: "old w", "w.restore": "new w" };
const stays = /dev-database is stopped. Run script\/restore again.*before script\/up starts dev-database/;

it.each([
  ["unclear", { "exchange w": "unclear" }],
  ["not undone", { start: "does not run", "exchange v again": "no space" }],
])("starts nothing on a mixture of old and new data if an exchange is %s", async (_, failures) => {
  const { at, did } = world({ data: { ...two }, failures });
  await expect(exchange(at, users, folders)).rejects.toThrow(stays);
  expect(did.at(-1)).toMatch(/^exchange/);
});

it("starts the services if they could not be stopped to undo it, because nothing is mixed then", async () => {
  const failures = { start: "does not run", "stop again": "busy" };
  const { at, did } = world({ data: { ...two }, failures });
  await expect(exchange(at, users, folders)).rejects.toThrow("busy: the old data is in place, or in");
  expect(did.at(-1)).toBe("start");
});

it("finishes all that was exchanged together, whichever volume is restored next", async () => {
  for (const volumes of [["v"], ["w"], ["x"]]) {
    const { at, did, data } = world({
      data: { ...halfway },
      marks: new Map([markOf("v", marked("v"), marked("w"))]),
    });
    for (const each of await findEarlier({ ...at, volumes }, users, usersOf)) await finishEarlier(each);
    expect(data).toMatchObject({ v: "old v", w: "old w" });
    expect(did).toEqual(["stop", "exchange v", "release", "remove v.exchanging"]);
  }
});

it("says that services are stopped if it cannot finish what was interrupted", async () => {
  const { at, did } = world({
    data: { ...halfway },
    marks: new Map([markOf("v", marked("v"), marked("w"))]),
    failures: { "exchange v": "no space" },
  });
  const [earlier] = await findEarlier(at, users, usersOf);
  await expect(earlier && finishEarlier(earlier)).rejects.toThrow(stays);
  expect(did).toEqual(["stop", "exchange v"]);
});
