import { expect, test } from "vitest";
import { UserError } from "../../../../lib/errors";
import { parseArguments } from "./options";

const parse = (...argv: string[]) => parseArguments(argv, {}, 2);

test.each([
  [[], { dry: false, once: false, redirectHttps: false }],
  [["--dry"], { dry: true, once: false }],
  [["--dry", "--once"], { dry: true, once: true }],
  [["--dry=false"], { dry: false }],
  [["--dry=true", "--once=false"], { dry: true, once: false }],
  [["--redirect-https=false"], { redirectHttps: false }],
  [["--certs=/certs", "--redirect-https"], { certs: "/certs", redirectHttps: true }],
  [["--trust-forwarded=10.0.0.0/8,::1"], { trusted: ["10.0.0.0/8", "::1"], proxyProtocol: false }],
  [["--dns=172.17.0.1:8600,10.0.0.1,[::1]:53"], { dns: ["172.17.0.1:8600", "10.0.0.1", "[::1]:53"] }],
  [["--authorities=/authorities"], { authorities: "/authorities", dns: [] }],
  [["--trust-forwarded=10.0.0.7", "--proxy-protocol"], { trusted: ["10.0.0.7"], proxyProtocol: true }],
])("%j", (argv, expected) => {
  expect(parse(...argv)).toMatchObject(expected);
});

test("the port of what is not there is nobody's", () => {
  expect(parse("--http-port=1936")).toMatchObject({ httpPort: 1936, stats: false });
  expect(parse("--http-port=443")).toMatchObject({ httpPort: 443 });
  const credentials = { STATS_USER: "a", STATS_PASSWORD: "b" };
  expect(() => parseArguments(["--http-port=1936"], credentials, 2)).toThrow("--stats-port has port 1936");
});

test("the node's name by the environment, unless an option says otherwise", () => {
  expect(parseArguments([], { NODE_NAME: "a" }, 2).node).toBe("a");
  expect(parseArguments(["--node=b"], { NODE_NAME: "a" }, 2).node).toBe("b");
  expect(parseArguments([], { NODE_NAME: "" }, 2).node).toBeUndefined();
});

test.each([
  [{}, "0.0.0.0", 8404],
  [{ ADMIN_PORT: "1" }, "0.0.0.0", 1],
  [{ ADMIN_ADDRESS: "::1", ADMIN_PORT: "2" }, "::1", 2],
])("the admin port by the environment %j", (env, adminAddress, adminPort) => {
  expect(parseArguments([], env, 2)).toMatchObject({ adminAddress, adminPort });
});

test.each([
  [["--once"], "--once says how often --dry prints: use --dry --once."],
  [["--dry=false", "--once"], "use --dry --once"],
  [["--dry=maybe"], '--dry="maybe" is neither true nor false.'],
  [["--redirect-https"], "--redirect-https needs --certs=DIR"],
  [["--http-port=8404"], "--admin has port 8404, and so has --http-port: choose another"],
  [["--certs=/certs", "--https-port=80"], "--https-port has port 80, and so has --http-port"],
  [["--trust-forwarded=anyone"], "is not a list of addresses and networks, as in 10.0.0.0/8,192.0.2.7"],
  [["--dns=consul:53"], "is not a list of DNS servers, as in 172.17.0.1:53,[2001:db8::1]"],
  [["--dns=10.0.0.1:0"], "is not a list of DNS servers"],
  [["--authorities=../x"], "is not an absolute path"],
  [["--proxy-protocol"], "--proxy-protocol needs --trust-forwarded=NETWORK,..., the peers that speak it."],
  [["--node=../x"], '--node="../x" is not the name of a node'],
  [["--evil\u001b"], '"--evil\\u001b" is not an option.'],
])("%j is refused", (argv, why) => {
  expect(() => parse(...argv)).toThrow(why);
});

test("reads the command line and the environment", () => {
  const parse = (...argv: string[]) => parseArguments(argv, {}, 4);
  expect(parse()).toMatchObject({
    consul: { addresses: [{ host: "127.0.0.1", port: 8500, tls: false }] },
    httpPort: 80,
    threads: 4,
    stats: false,
  });
  expect(parse("--consul=http://10.0.0.1:8501", "--dry", "--once")).toMatchObject({
    consul: { addresses: [{ host: "10.0.0.1", port: 8501, tls: false }] },
    dry: true,
    once: true,
  });
  expect(parseArguments([], { STATS_USER: "u", STATS_PASSWORD: "p" }, 1).stats).toBe(true);
  for (const bad of [
    "--consul=x",
    "--http-port=0",
    "--nonsense",
    "run",
    "--state-dir=/a b",
    "--threads=0",
    "--hold=x",
  ])
    expect(() => parse(bad)).toThrow(UserError);
  expect(() => parseArguments([], { STATS_USER: "u" }, 1)).toThrow("neither");
});
