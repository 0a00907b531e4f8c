import { expect, test } from "vitest";
import { parseCommand } from "./options";

const place = ["--repository=/repository", "--host=shop/dev"];
const placed = { repository: "/repository", host: "shop/dev" };

test.each([
  [
    ["backup", ...place, "--volume=data", "--volume=files", "--keep=daily=7", "--keep=weekly=4"],
    { verb: "backup", ...placed, volumes: ["data", "files"], dumps: [], keep: { daily: 7, weekly: 4 } },
  ],
  [["list", ...place], { verb: "list", ...placed }],
  [
    ["restore", ...place, "--path=/volumes/data", "--snapshot=latest", "--target=/restored"],
    { verb: "restore", ...placed, path: "/volumes/data", snapshot: "latest", target: "/restored" },
  ],
  [
    ["load", ...place, "--path=/db.dump", "--snapshot=1a", "--container=c", '--program=["psql","-q"]'],
    { verb: "load", ...placed, path: "/db.dump", snapshot: "1a", container: "c", program: ["psql", "-q"] },
  ],
  [
    ["docker", "--listen=/run/s", '--program=db=["pg_dump","a=b"]'],
    { verb: "docker", listen: "/run/s", programs: { db: ["pg_dump", "a=b"] } },
  ],
])("reads %j", (args, command) => {
  expect(parseCommand(args)).toEqual(command);
});

test.each([
  [[], "Usage:"],
  [["list"], "--repository is missing"],
  [["backup", ...place, "--keep=7"], "--keep=7: write it as daily=7"],
  [["backup", ...place, "--oops"], "--oops"],
  [["docker", "--listen=/s", "--program=db=pg_dump"], "it must be a JSON list"],
  [["docker", "--listen=/s", "--program=db=[]"], "it must be a JSON list"],
])("refuses %j", (args, message) => {
  expect(() => parseCommand(args)).toThrow(message);
});
