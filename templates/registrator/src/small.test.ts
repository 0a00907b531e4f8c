import { describe, expect, it } from "vitest";
import { Coalescer } from "./coalescer";
import { agreeOn, eventOf } from "./docker/client";
import { dockerEndpoint, ownAddress } from "./machine";
import { parseOptions } from "./options";
import { problemWithName } from "./service/rules";
import { endsContainer, signalNumber } from "./docker/signals";

describe("options", () => {
  const parse = (...args: string[]) => parseOptions(args, {});

  it("takes Registrator's command line", () => {
    const args = ["-ip", "10.0.0.1", "-internal", "-tags=a,b", "-cleanup", "-resync", "30", "consul://h:1"];
    expect(parse(...args)).toMatchObject({
      ip: "10.0.0.1",
      internal: true,
      explicit: false,
      tags: ["a", "b"],
      resyncSeconds: 30,
      consul: { host: "h", port: 1 },
      notes: ["-cleanup: what has gone is always cleaned up."],
    });
  });

  it.each([
    [["--consul=h:1"], { host: "h", port: 1 }],
    [["--consul", "h"], { host: "h", port: 8500 }],
    [["consul://"], { host: "127.0.0.1", port: 8500 }],
    [["consul-unix:///run/c.sock"], { socketPath: "/run/c.sock" }],
    [["consul-tls://h:8501"], { host: "h", port: 8501, tlsFromEnv: true }],
    [["consul://[::1]:8500"], { host: "::1", label: "[::1]:8500" }],
    [[], { host: "127.0.0.1" }],
  ])("finds Consul with %j", (args, expected) => {
    expect(parse(...args)).toMatchObject({ consul: expected, resyncSeconds: 2 });
  });

  it.each([
    [["-nonsense"], "Unknown flag -nonsense; registrator -help lists the flags."],
    [["-ip"], "The flag -ip needs a value: -ip=VALUE."],
    [["etcd://h:1"], "etcd://h:1: only Consul is supported, as consul://HOST:PORT."],
    [["consul://h:1", "x"], "There is one address of Consul, but the arguments are consul://h:1 x."],
    [["-resync=soon"], "-resync=soon: it is a number of seconds up to 86400."],
    [["-tags={{.Name}}"], "-tags: Go templates are not supported; give a comma-separated list."],
    [["consul://h:99999"], "consul://h:99999 is no address of Consul; write it as consul://HOST:PORT."],
    [
      ["-deregister=on-success"],
      '-deregister on-success: only "always" is supported; a container that has ended is no instance of a service.',
    ],
  ])("refuses %j", (args, sentence) => {
    expect(() => parse(...args)).toThrow(sentence);
  });
});

it.each([
  ["1.41", "1.12", "1.41"],
  ["1.52", "1.44", "1.52"],
  ["1.60", "1.44", "1.52"],
  ["1.70", "1.55", "1.55"],
  ["1.9", "1.9", "1.9"],
  [undefined, undefined, ""],
])("an engine of API %s down to %s is spoken to in %s", (offered, oldest, version) => {
  expect(agreeOn(offered, oldest)).toBe(version);
});

it("reads events with and without the fields that are gone since API 1.52", () => {
  const actor = { Action: "kill", Actor: { ID: "x", Attributes: { name: "web", signal: "15" } } };
  const expected = { id: "x", action: "kill", attributes: { name: "web", signal: "15" } };
  expect(
    eventOf(JSON.stringify({ status: "kill", id: "x", from: "i", Type: "container", ...actor })),
  ).toEqual(expected);
  expect(eventOf(`\u001e${JSON.stringify({ Type: "container", ...actor })}`)).toEqual(expected);
  expect(["", "{", "{}", '{"Action":"start"}', "null"].map(eventOf)).toEqual(Array(5).fill(undefined));
});

it.each([
  ["15", undefined, true],
  ["9", undefined, true],
  ["SIGINT", undefined, true],
  ["1", undefined, false],
  ["10", undefined, false],
  ["3", undefined, false],
  ["3", "SIGQUIT", true],
  ["37", "SIGRTMIN+3", true],
  ["10", "USR1", true],
  ["15", "SIGQUIT", true],
  ["", undefined, false],
])("signal %j with stop signal %j ends a container: %s", (signal, stop, expected) => {
  expect(endsContainer(signal, stop)).toBe(expected);
});

it("knows signals by name and number", () => {
  expect(["SIGTERM", "term", "15", "SIGRTMAX-1", "nonsense"].map(signalNumber)).toEqual([
    15,
    15,
    15,
    63,
    undefined,
  ]);
});

it.each(["hello/v1", "a", "Web_1.x", "hällo", "a b", "x-80", "consul-ui"])("%s is a name", (name) => {
  expect(problemWithName(name)).toBeUndefined();
});

it.each(["", " a", "a//b", "/a", "a/", "a/../b", "./a", "a\tb", "a\u0085b", "x".repeat(129), "consul"])(
  "%j is no name",
  (name) => {
    expect(problemWithName(name)).toBeTypeOf("string");
  },
);

describe("this machine", () => {
  const address = (ip: string, internal = false) => [
    { address: ip, family: "IPv4" as const, internal, netmask: "", mac: "", cidr: null },
  ];
  const all = {
    lo: address("127.0.0.1", true),
    docker0: address("172.17.0.1"),
    eth0: address("10.0.0.5"),
    eth1: address("10.1.0.5"),
  };

  it("is known by the interface of the default route", () => {
    expect(ownAddress(all, "Iface\tDestination\neth1\t00000000\t0100A8C0")).toBe("10.1.0.5");
    expect(ownAddress(all, "")).toBe("10.0.0.5");
    expect(ownAddress({ lo: all.lo }, "")).toBeUndefined();
  });

  it("finds Docker", () => {
    expect(dockerEndpoint(undefined, (path) => path === "/tmp/docker.sock")).toEqual({
      socketPath: "/tmp/docker.sock",
    });
    expect(dockerEndpoint("tcp://h:2376")).toEqual({ host: "h", port: 2376 });
    expect(dockerEndpoint("unix:///x")).toEqual({ socketPath: "/x" });
    expect(() => dockerEndpoint("ssh://h")).toThrow("DOCKER_HOST=ssh://h");
    expect(() => dockerEndpoint(undefined, () => false)).toThrow("mount it");
  });
});

describe("coalescer", () => {
  it("never runs a key twice at once, starts after the last touch, and keeps to its limit", async () => {
    const seen: string[] = [];
    let active = 0;
    let most = 0;
    const work = new Coalescer(async (key, reason) => {
      most = Math.max(most, ++active);
      seen.push(`${key}${reason}`);
      await new Promise((resolve) => setImmediate(resolve));
      active--;
    }, 2);
    const first = work.touch("a", "1");
    await Promise.resolve();
    const others = ["2", "3"].map((reason) => work.touch("a", reason));
    await Promise.all([first, ...others, work.touch("b", "1"), work.touch("c", "1")]);
    expect(seen.filter((each) => each.startsWith("a"))).toEqual(["a1", "a3"]);
    expect(seen).toContain("c1");
    expect(most).toBe(2);
  });
});
