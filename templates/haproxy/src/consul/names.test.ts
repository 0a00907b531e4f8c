import { getServers, setServers } from "node:dns/promises";
import { syncBuiltinESMExports } from "node:module";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { startDnsServer, type DnsServer, type Zone } from "../../../../lib/testing-dns";
import { Names } from "./names";

let zone: Zone;
let dns: DnsServer;
let names: Names;
const changed = vi.fn();

beforeEach(async () => {
  zone = new Map();
  dns = await startDnsServer(zone);
  changed.mockReset();
  names = newNames();
});
afterEach(() => {
  names.stop();
  dns.stop();
});

/** Asks this DNS server only: the machine's own would be asked for what this one fails to answer. */
const newNames = (servers = [dns.address], shortestMs = 50) =>
  new Names({ servers, changed, alone: true, shortestMs, retryMs: 50, holdMs: 200, timeoutMs: 200 });

const addresses = (name: string) => names.resolutions.get(name)?.addresses;
const problem = (name: string) => names.resolutions.get(name)?.problem;

test("resolves a name to all of its addresses, in a stable order", async () => {
  zone.set("db.example.com", { addresses: ["10.0.0.2", "10.0.0.1", "2001:db8::1"] });
  names.follow(["db.example.com"]);
  expect(names.resolutions.get("db.example.com")).toBeUndefined();
  await names.settled(5_000);
  expect(addresses("db.example.com")).toEqual(["10.0.0.1", "10.0.0.2"]);
  expect(changed).toHaveBeenCalledTimes(1);
});

test("uses IPv6 where there is nothing else", async () => {
  zone.set("six.example.com", { addresses: ["2001:db8::1"] });
  names.follow(["six.example.com"]);
  await names.settled(5_000);
  expect(addresses("six.example.com")).toEqual(["2001:db8::1"]);
});

test("follows a name whose address changes, and says nothing while it stays", async () => {
  zone.set("db.example.com", { addresses: ["10.0.0.1"] });
  names.follow(["db.example.com"]);
  await vi.waitFor(() => {
    expect(dns.asked.get("db.example.com")).toBeGreaterThan(3);
  });
  expect(changed).toHaveBeenCalledTimes(1);
  zone.set("db.example.com", { addresses: ["10.0.0.9"] });
  await vi.waitFor(() => {
    expect(addresses("db.example.com")).toEqual(["10.0.0.9"]);
  });
});

test("asks again only when the TTL has passed", async () => {
  zone.set("slow.example.com", { addresses: ["10.0.0.1"], ttl: 30 });
  zone.set("quick.example.com", { addresses: ["10.0.0.1"], ttl: 0 });
  names.follow(["slow.example.com", "quick.example.com"]);
  await vi.waitFor(() => {
    expect(dns.asked.get("quick.example.com")).toBeGreaterThan(3);
  });
  expect(dns.asked.get("slow.example.com")).toBe(1);
});

test("a name that does not exist has a reason, and is resolved once it does", async () => {
  zone.set("good.example.com", { addresses: ["10.0.0.1"] });
  names.follow(["good.example.com", "none.example.com"]);
  await names.settled(5_000);
  expect(names.resolutions.get("none.example.com")).toEqual({ addresses: [], problem: "ENOTFOUND" });
  expect(addresses("good.example.com")).toEqual(["10.0.0.1"]);
  zone.set("none.example.com", { addresses: ["10.0.0.2"] });
  await vi.waitFor(() => {
    expect(names.resolutions.get("none.example.com")).toEqual({ addresses: ["10.0.0.2"] });
  });
});

test("a name that is gone keeps its addresses for a while", async () => {
  zone.set("db.example.com", { addresses: ["10.0.0.1"] });
  names.follow(["db.example.com"]);
  await names.settled(5_000);
  const since = performance.now();
  zone.delete("db.example.com");
  await vi.waitFor(() => {
    expect(problem("db.example.com")).toBe("ENOTFOUND");
  });
  await vi.waitFor(() => {
    expect(addresses("db.example.com")).toEqual([]);
  });
  expect(performance.now() - since).toBeGreaterThan(200);
});

test("a name keeps its addresses for as long as DNS fails", async () => {
  zone.set("db.example.com", { addresses: ["10.0.0.1"] });
  names.follow(["db.example.com"]);
  await names.settled(5_000);
  zone.set("db.example.com", 2);
  await vi.waitFor(() => {
    expect(problem("db.example.com")).toBe("ESERVFAIL");
  });
  const asked = dns.asked.get("db.example.com") ?? 0;
  await vi.waitFor(() => {
    expect(dns.asked.get("db.example.com")).toBeGreaterThan(asked + 10);
  });
  expect(addresses("db.example.com")).toEqual(["10.0.0.1"]);
});

test("an address that nothing can be connected to is none", async () => {
  zone.set("zero.example.com", { addresses: ["0.0.0.0"] });
  names.follow(["zero.example.com"]);
  await names.settled(5_000);
  expect(names.resolutions.get("zero.example.com")).toEqual({ addresses: [], problem: "ENODATA" });
});

test("asks the next server where one refuses, as Consul does for names outside its domain", async () => {
  const other = await startDnsServer(new Map([["db.example.com", { addresses: ["10.0.0.1"] }]]));
  zone.set("db.example.com", 5);
  names.stop();
  names = newNames([dns.address, other.address]);
  names.follow(["db.example.com"]);
  await names.settled(5_000);
  expect(addresses("db.example.com")).toEqual(["10.0.0.1"]);
  other.stop();
});

test("asks the machine's own DNS servers where the others refuse", async () => {
  const machine = await startDnsServer(new Map([["db.example.com", { addresses: ["10.0.0.1"] }]]));
  zone.set("db.example.com", 5);
  const before = getServers();
  const useServers = (servers: readonly string[]) => {
    setServers(servers);
    // It replaces the exported functions, which modules that have imported them do not see otherwise.
    syncBuiltinESMExports();
  };
  try {
    useServers([machine.address]);
    names.stop();
    names = new Names({ servers: [dns.address], changed, timeoutMs: 200 });
    names.follow(["db.example.com"]);
    await names.settled(5_000);
    expect(addresses("db.example.com")).toEqual(["10.0.0.1"]);
    expect(dns.asked.get("db.example.com")).toBeGreaterThan(0);
  } finally {
    useServers(before);
    machine.stop();
  }
});

test("does not believe that a name is gone while a server fails that might know it", async () => {
  const other = await startDnsServer(new Map());
  zone.set("web.service.consul", { addresses: ["10.0.0.1"] });
  names.stop();
  names = newNames([dns.address, other.address]);
  names.follow(["web.service.consul"]);
  await names.settled(5_000);
  zone.set("web.service.consul", 2);
  await vi.waitFor(() => {
    expect(problem("web.service.consul")).toBe("ESERVFAIL");
  });
  expect(other.asked.get("web.service.consul")).toBeGreaterThan(0);
  expect(addresses("web.service.consul")).toEqual(["10.0.0.1"]);
  other.stop();
});

test("forgets names that nobody has any more", async () => {
  zone.set("db.example.com", { addresses: ["10.0.0.1"] });
  names.follow(["db.example.com"]);
  await names.settled(5_000);
  names.follow([]);
  expect(names.resolutions.size).toBe(0);
});
