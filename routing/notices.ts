/**
 * What Registrator tells the load balancers about containers that ask for load balancing and cannot be registered: the meta
 * of one service per node, so that it arrives with the services and goes with the node. None of it can be trusted. Pure.
 */
import { escapeInvisible } from "../lib/text";
import { parseJson } from "../lib/values";
import { show } from "./grammar";
import type { Instance, Problem } from "./types";

export interface Notice {
  readonly container: string;
  /** The name that it would have had in Consul. */
  readonly service: string;
  /** A clause: `its port 8080 is not published; start it with -P`. */
  readonly why: string;
}

export interface ReceivedNotice extends Notice {
  readonly node: string;
}

export const noticeService = "registrator-notices";

/** Consul's limits are 64 pairs of meta and 512 bytes for a value. */
const mostPerNode = 60;
const mostBytes = 512;
/** For all nodes: anybody may register nodes. */
const mostReceived = 1_000;
const longest = { container: 64, service: 128, why: 300 };

const cut = (text: string, most: number): string =>
  text.length > most ? `${text.slice(0, most - 1)}…` : text;

/** The meta that carries the notices, with keys that Consul accepts. */
export function writeNotices(notices: readonly Notice[]): Record<string, string> {
  const values = notices.slice(0, mostPerNode).flatMap(({ container, service, why }) => {
    const value = (most: number) =>
      JSON.stringify([cut(container, longest.container), cut(service, longest.service), cut(why, most)]);
    return [longest.why, 100, 10].map(value).find((each) => Buffer.byteLength(each) <= mostBytes) ?? [];
  });
  return Object.fromEntries(values.map((value, index) => [`notice_${index + 1}`, value]));
}

function parseNotice(value: string): Notice | undefined {
  const parsed = parseJson(value);
  if (!Array.isArray(parsed)) return undefined;
  const [container, service, why] = parsed as unknown[];
  if (typeof container !== "string" || typeof service !== "string" || typeof why !== "string")
    return undefined;
  return { container, service, why: escapeInvisible(cut(why, longest.why)) };
}

/** A catalog is immutable, so a result stays valid for the same instance. */
const read = new WeakMap<Instance, readonly ReceivedNotice[]>();

/** The notices in a catalog: those of one registration per node. */
export function readNotices(instances: readonly Instance[]): ReceivedNotice[] {
  const byNode = new Map<string, readonly ReceivedNotice[]>();
  for (const instance of instances) {
    const { service, node, meta } = instance;
    if (service !== noticeService || byNode.has(node)) continue;
    const notices =
      read.get(instance) ??
      Object.values(meta).flatMap((value) => {
        const notice = parseNotice(value);
        return notice === undefined ? [] : [{ ...notice, node }];
      });
    read.set(instance, notices);
    byNode.set(node, notices);
  }
  return [...byNode.values()].flat().slice(0, mostReceived);
}

export const noticeProblem = ({ container, service, why, node }: ReceivedNotice): Problem => ({
  level: "unrouted",
  subject: service,
  message: `Container ${show(container)} on node ${show(node)} is seen, but not routed as ${show(service)}, because ${why}.`,
});
