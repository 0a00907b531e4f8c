import { expect, it } from "vitest";
import { parseOptions } from "./options";

const parse = (...args: string[]) => parseOptions(args, {});

it("accepts the original Registrator's command line", () => {
  const args = ["-ip", "10.0.0.1", "-internal", "-tags=a,b", "-cleanup", "-resync", "30", "consul://h:1"];
  expect(parse(...args)).toMatchObject({
    ip: "10.0.0.1",
    internal: true,
    explicit: false,
    tags: ["a", "b"],
    resyncSeconds: 30,
    consul: { host: "h", port: 1 },
    notes: ["-cleanup has no effect: stale services are always removed."],
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
  [["etcd://h:1"], "etcd://h:1: only Consul is supported; write it as consul://HOST:PORT."],
  [["consul://h:1", "x"], "Give one address of Consul, not several: consul://h:1 x."],
  [["-resync=soon"], "-resync=soon: it must be a number of seconds up to 86400."],
  [["-tags={{.Name}}"], "-tags: Go templates are not supported; give a comma-separated list."],
  [["consul://h:99999"], "consul://h:99999 is not an address of Consul; write it as consul://HOST:PORT."],
  [
    ["-deregister=on-success"],
    '-deregister on-success: only "always" is supported; an ended container provides no service.',
  ],
])("rejects %j", (args, sentence) => {
  expect(() => parse(...args)).toThrow(sentence);
});
