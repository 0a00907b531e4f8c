import { expect, test } from "vitest";
import type { WaitingRequest } from "../haproxy/commands";
import { establishedPeers, Leavers, peerOf } from "./leavers";

const table = [
  "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
  "   0: 0100007F:46A0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0",
  "   1: 0100007F:46A0 0100007F:A4D8 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1",
  "   2: 0100007F:46A0 0100007F:A4D9 08 00000000:00000001 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1",
  "   0: 00000000000000000000000001000000:0050 B80D0120000000000000000001000000:A4DA 01 00000000:00000000",
].join("\n");

test.each([
  ["127.0.0.1:42200", "0100007F:A4D8"],
  ["10.77.1.2:80", "02014D0A:0050"],
  ["2001:db8::1:42202", "B80D0120000000000000000001000000:A4DA"],
  ["[::1]:80", "00000000000000000000000001000000:0050"],
])("%s is %s in Linux's tables", (client, peer) => {
  expect(peerOf(client)).toBe(peer);
});

test("only connections that are open in both directions count", () => {
  expect([...establishedPeers(table)]).toEqual(["0100007F:A4D8", "B80D0120000000000000000001000000:A4DA"]);
});

const request = (id: string, client: string): WaitingRequest => ({ id, client, backend: "svc:a" });

function leavers(requests: () => readonly WaitingRequest[], held = new Map([["a", 1]])) {
  const ended: string[] = [];
  const found: string[] = [];
  const made = new Leavers({
    sleeping: () => new Set(["a"]),
    held: () => Promise.resolve(held),
    waiting: () => Promise.resolve(requests()),
    end: ({ id }) => Promise.resolve(void ended.push(id)),
    found: (services) => found.push(...services),
    connections: () => Promise.resolve(table),
  });
  return { made, ended, found };
}

test("a request whose client has left is ended when it is seen a second time", async () => {
  const { made, ended, found } = leavers(() => [
    request("0x1", "127.0.0.1:42200"),
    request("0x2", "127.0.0.1:42201"),
    request("0x3", "127.0.0.1:9"),
    request("0x4", "2001:db8::1:42202"),
  ]);
  await made.look();
  expect(ended).toEqual([]);
  await made.look();
  expect(ended).toEqual(["0x2", "0x3"]);
  expect(found).toEqual(["a", "a"]);
});

test("an ID that has another client by then is another request", async () => {
  const clients = ["127.0.0.1:9", "127.0.0.1:10"];
  const { made, ended } = leavers(() => [request("0x1", clients.shift() ?? "")]);
  await made.look();
  await made.look();
  expect(ended).toEqual([]);
});

test("while nothing waits, requests are not asked for", async () => {
  const { made, found } = leavers(() => {
    throw new Error("nobody should ask");
  }, new Map());
  await made.look();
  expect(found).toEqual([]);
});
