import { describe, expect, test } from "vitest";

import { readTmpfs, readVolume, writeVolume } from "./volumes";

const nfs = { type: "nfs", o: "addr=10.0.0.9,rw,nfsvers=4", device: ":/srv/data" };

test.each<[unknown, object]>([
  ["data:/var/lib/app", { type: "volume", source: "data", target: "/var/lib/app", readOnly: false }],
  ["./conf:/etc/app:ro", { type: "bind", source: "./conf", target: "/etc/app", readOnly: true }],
  ["/srv//x:/x/", { type: "bind", source: "/srv//x", target: "/x", readOnly: false }],
  ["..:/x:rw", { type: "bind", source: "..", target: "/x", readOnly: false }],
  [
    { type: "tmpfs", target: "/run" },
    { type: "tmpfs", target: "/run", readOnly: false },
  ],
  [
    { type: "volume", source: "data", target: "/d", read_only: true, driver_opts: nfs },
    { type: "volume", source: "data", target: "/d", readOnly: true, driverOptions: nfs },
  ],
])("the volume %j is read", (value, volume) => {
  expect(readVolume(value)).toEqual({ ok: true, value: volume });
});

describe("a mistake in a volume is named, with the cure", () => {
  test.each<[unknown, string]>([
    ["/var/lib/app", "write SOURCE:TARGET"],
    ["data:/x:ro:z", "write SOURCE:TARGET"],
    ["data:/x:z", "only ro or rw may follow"],
    ["a b:/x", "name the volume"],
    ["data.restore:/x", "rename the volume"],
    ["data.exchanging:/x", "rename the volume"],
    ["~/x:/x", 'starts with "./"'],
    [".x:/x", 'starts with "./"'],
    ["data:x", "an absolute path in the container"],
    ["data:/x/../etc", "an absolute path in the container"],
    ["data:/", "an absolute path in the container"],
    ["data:/x\ny", "an absolute path in the container"],
    [7, 'it must be text such as "data:/var/lib/app"'],
    [{ type: "volume", source: "data", taget: "/x" }, "use one of type, source, target"],
    [{ type: "npipe", source: "data", target: "/x" }, "one of volume, bind, tmpfs"],
    [{ type: "tmpfs", source: "data", target: "/x" }, "remove it"],
    [{ type: "bind", source: "data", target: "/x" }, "absolute path"],
    [{ type: "volume", source: "data", target: "/x", read_only: 1 }, "true or false"],
    [{ type: "bind", source: "/x", target: "/x", driver_opts: nfs }, "set type: volume"],
    [{ type: "volume", source: "d", target: "/x", driver_opts: { type: "none", o: "bind", device: "/" } }, "nfs or nfs4"], // prettier-ignore
    [{ type: "volume", source: "d", target: "/x", driver_opts: { ...nfs, o: "rw x" } }, "without blanks"],
    [{ type: "volume", source: "d", target: "/x", driver_opts: { ...nfs, size: "1" } }, "type, o, device"],
  ])("%j", (value, cure) => {
    const read = readVolume(value);
    expect(read.ok ? "" : read.mistake.cure).toContain(cure);
  });
});

test("tmpfs takes options as Compose's", () => {
  expect(readTmpfs("/run")).toEqual({ ok: true, value: { type: "tmpfs", target: "/run", readOnly: false } });
  expect(readTmpfs("/tmp:size=64m,mode=1777")).toMatchObject({
    value: { sizeBytes: 64 * 1024 ** 2, mode: 0o1777 },
  });
  for (const value of ["run", "/run:size=x", "/run:uid=1", "/a:size=1:b", 1])
    expect(readTmpfs(value).ok).toBe(false);
});

test("a volume is written as it was given", () => {
  for (const value of ["data:/var/lib/app", "./conf:/etc/app:ro"]) {
    const read = readVolume(value);
    expect(read.ok && writeVolume(read.value)).toBe(value);
  }
  const read = readTmpfs("/tmp:size=64k,mode=1777");
  expect(read.ok && writeVolume(read.value)).toBe("/tmp:size=65536,mode=1777");
});
