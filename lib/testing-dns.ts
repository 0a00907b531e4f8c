/** A DNS server for tests. */
import { createSocket } from "node:dgram";
import { isIPv4 } from "node:net";

/** What it knows of a name: addresses, or the number of an error such as 2, SERVFAIL. Other names do not exist. */
export type Zone = Map<string, { readonly addresses: readonly string[]; readonly ttl?: number } | number>;

export interface DnsServer {
  /** `127.0.0.1:PORT`, as resolvers take it. */
  readonly address: string;
  /** How often each name was asked for. */
  readonly asked: ReadonlyMap<string, number>;
  stop(): void;
}

const typeA = 1;
const typeAaaa = 28;

/** The first question of a query, and where it ends. */
function question(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString("latin1", at + 1, at + 1 + length));
    at += length + 1;
  }
  return { name: labels.join(".").toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}

function bytesOf(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split(".").map(Number));
  const [head = "", tail = ""] = address.split("::");
  const [before, after] = [head, tail].map((part) => (part === "" ? [] : part.split(":")));
  const groups = [
    ...(before ?? []),
    ...Array<string>(8 - (before?.length ?? 0) - (after?.length ?? 0)).fill("0"),
    ...(after ?? []),
  ];
  return Buffer.from(groups.map((group) => group.padStart(4, "0")).join(""), "hex");
}

export async function startDnsServer(zone: Zone, port = 0): Promise<DnsServer> {
  const asked = new Map<string, number>();
  const socket = createSocket("udp4");
  socket.on("message", (query, from) => {
    const { name, type, end } = question(query);
    asked.set(name, (asked.get(name) ?? 0) + 1);
    const known = zone.get(name);
    const code = known === undefined ? 3 : typeof known === "number" ? known : 0;
    const { addresses = [], ttl = 0 } = typeof known === "object" ? known : {};
    const wanted = addresses.filter((address) => type === (isIPv4(address) ? typeA : typeAaaa));
    const answers = wanted.map((address) => {
      const data = bytesOf(address);
      const fixed = Buffer.alloc(12);
      // A pointer to the name in the question.
      fixed.writeUInt16BE(0xc00c, 0);
      fixed.writeUInt16BE(type, 2);
      fixed.writeUInt16BE(1, 4);
      fixed.writeUInt32BE(ttl, 6);
      fixed.writeUInt16BE(data.length, 10);
      return Buffer.concat([fixed, data]);
    });
    const head = Buffer.alloc(12);
    query.copy(head, 0, 0, 2);
    head.writeUInt16BE(0x8180 | code, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(answers.length, 6);
    socket.send(Buffer.concat([head, query.subarray(12, end), ...answers]), from.port, from.address);
  });
  await new Promise<void>((resolve) => {
    socket.bind(port, "127.0.0.1", resolve);
  });
  return {
    address: `127.0.0.1:${socket.address().port}`,
    asked,
    stop: () => {
      socket.close();
    },
  };
}
