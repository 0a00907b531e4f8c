import { expect, it } from "vitest";

import { exchange, findEarlier, finishEarlier, type Exchange } from "./exchange";
import type { User } from "./services";

interface World {
  /** The identity of each folder, by volume. */
  readonly data: Record<string, string>;
  readonly marks: Map<string, Readonly<Record<string, string>>>;
  /** What fails, by what is done. */
  readonly failures: Record<string, string>;
  readonly did: string[];
  readonly said: string[];
}

const marksOf = (volume: string, mark: object) =>
  [`${volume}.exchanging`, { "switchyard.exchange": JSON.stringify(mark) }] as const;

/** A node with volumes, as exchanges see it. */
function world({ data, marks = new Map(), failures = {} }: Partial<World>): World & { at: Exchange } {
  const made = {
    data: data ?? { v: "old", "v.restore": "new" },
    marks,
    failures,
    did: [],
    said: [],
  } as World;
  const done = (what: string) => {
    made.did.push(what);
    const failure = failures[what];
    return failure === undefined ? Promise.resolve() : Promise.reject(new Error(failure));
  };
  const at = {
    node: {
      node: { name: "one" },
      volume: (name: string, labels: Readonly<Record<string, string>>) => {
        marks.set(name, labels);
        return Promise.resolve();
      },
      removeVolume: (name: string) => done(`remove ${name}`).then(() => marks.delete(name)),
      labelsOf: (name: string) => Promise.resolve(marks.get(name)),
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

const users: User[] = [{ id: "s1", name: "dev-database", replicas: 1, held: true }];
const folders = new Map([["v", "data"]]);

it("exchanges the data while the services are stopped, and leaves no marks", async () => {
  const { at, did, data, marks } = world({});
  await exchange(at, users, folders);
  expect(did).toEqual(["stop", "exchange v", "start", "remove v.exchanging"]);
  expect(data).toEqual({ v: "new", "v.restore": "old" });
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
    marks: new Map([marksOf("v", { folder: "data", old: "old", new: "new" })]),
    failures: { "remove v.exchanging": "busy" },
  });
  await expect(finishEarlier(at, users, { exchanged: [] })).rejects.toThrow("busy");
  expect(did).toContain("release");
});

const released = users.map((user) => ({ ...user, held: false }));

it.each([
  ["old", "does not run"],
  ["new", undefined],
])(
  "changes nothing until an interrupted restore is finished, which leaves the %s data",
  async (left, failure) => {
    const { at, did, data } = world({
      data: { v: "new", "v.restore": "old" },
      marks: new Map([marksOf("v", { folder: "data", old: "old", new: "new" })]),
      failures: failure === undefined ? {} : { start: failure },
    });
    const earlier = await findEarlier(at, released);
    expect(earlier?.exchanged).toHaveLength(1);
    expect(did).toEqual([]);
    if (earlier !== undefined) await finishEarlier(at, released, earlier);
    expect(data["v"]).toBe(left);
  },
);

it("finds nothing to finish without marks and held services", async () => {
  expect(await findEarlier(world({}).at, released)).toBeUndefined();
});
