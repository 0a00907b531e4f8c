/**
 * Ends requests that wait for a service to wake and whose clients have left. HAProxy does not read from a client whose request it has,
 * so it would not notice. Linux does: it shows the connection as closed by the other side, or not at all.
 */
import { readFile } from "node:fs/promises";
import { isIPv6 } from "node:net";
import type { WaitingRequest } from "../haproxy/commands";

const intervalMs = 1_000;

export interface LeaversOptions {
  readonly sleeping: () => ReadonlySet<string>;
  readonly held: () => Promise<ReadonlyMap<string, number>>;
  readonly waiting: () => Promise<readonly WaitingRequest[]>;
  readonly end: (request: WaitingRequest) => Promise<void>;
  /** Called with the services that requests wait for. */
  readonly found: (services: Iterable<string>) => void;
  /** Linux's tables of connections. */
  readonly connections?: () => Promise<string>;
}

const readConnections = async (): Promise<string> => {
  const tables = ["/proc/net/tcp", "/proc/net/tcp6"].map((file) => readFile(file, "utf8").catch(() => ""));
  return (await Promise.all(tables)).join("\n");
};

export class Leavers {
  private timer: NodeJS.Timeout | undefined;
  private isLooking = false;
  /** Those whose clients seemed to be gone: HAProxy may reuse an ID, so they are looked at twice. */
  private suspects: ReadonlySet<string> = new Set();

  constructor(private readonly options: LeaversOptions) {}

  start(): void {
    this.timer = setInterval(() => void this.look().catch(() => undefined), intervalMs);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  async look(): Promise<void> {
    const { sleeping, held, waiting, end, found, connections = readConnections } = this.options;
    if (this.isLooking || sleeping().size === 0) return;
    this.isLooking = true;
    try {
      const services = await held();
      if (services.size === 0) return;
      found(services.keys());
      const requests = await waiting();
      const present = establishedPeers(await connections());
      const gone = requests.filter(({ client }) => !present.has(peerOf(client)));
      const keyOf = ({ id, client }: WaitingRequest) => `${id} ${client}`;
      for (const request of gone)
        if (this.suspects.has(keyOf(request))) await end(request).catch(() => undefined);
      this.suspects = new Set(gone.map(keyOf));
    } finally {
      this.isLooking = false;
    }
  }
}

const established = "01";

/** The other ends of connections that are open in both directions, as Linux writes them. */
export function establishedPeers(table: string): Set<string> {
  const peers = new Set<string>();
  for (const [, peer = "", state] of table.matchAll(
    /^ *\d+: [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]+:[0-9A-F]{4}) ([0-9A-F]{2}) /gm,
  ))
    if (state === established) peers.add(peer);
  return peers;
}

/** An address and port as Linux writes them: 32 bits at a time, with the lowest byte first. */
export function peerOf(client: string): string {
  const end = client.lastIndexOf(":");
  const address = client.slice(0, end).replace(/^\[|\]$/g, "");
  const port = Number(client.slice(end + 1));
  const bytes = isIPv6(address) ? ipv6Bytes(address) : address.split(".").map(Number);
  const hex = bytes.map((_, index) => bytes[(index & ~3) + 3 - (index & 3)] ?? 0).map(hexByte);
  return `${hex.join("")}:${hexByte(port >> 8)}${hexByte(port & 255)}`;
}

const hexByte = (value: number): string => value.toString(16).padStart(2, "0").toUpperCase();

function ipv6Bytes(address: string): number[] {
  const [left = [], right = []] = address.split("::").map((part) => (part === "" ? [] : part.split(":")));
  const zeros = Array<string>(Math.max(0, 8 - left.length - right.length)).fill("0");
  return [...left, ...zeros, ...right].flatMap((group) => {
    const value = parseInt(group, 16);
    return [value >> 8, value & 255];
  });
}
