/**
 * The shapes that a backend may have. A backend that is made while HAProxy runs, or was made in advance, can have nothing
 * of its own: all that it is comes from a named `defaults` section. So there is one for each shape, and what differs from
 * service to service is looked up in maps by the backend's name. Pure.
 */
import type { Balance, ServiceOptions } from "../../../../routing/options";
import { lines } from "./syntax";
import type { OptionMap, RenderOptions } from "./types";

/** The backend that a route without a target leads to. */
export const nowhere = "none";

export const balanceLines: Readonly<Record<Balance, readonly string[]>> = {
  roundrobin: ["balance roundrobin"],
  leastconn: ["balance leastconn"],
  random: ["balance random"],
  // Without consistent hashing, an instance more or less would move nearly every client.
  source: ["balance source", "hash-type consistent"],
  uri: ["balance uri", "hash-type consistent"],
};

/** Where versions share requests, it keeps a client of a sticky one on its version: what was drawn for it, from 0 to 99. */
export const slotCookie = "SWITCHYARD_SLOT";

interface Shape {
  readonly balance: Balance;
  readonly sticky: boolean;
  /** Whether a path of the service's own is asked for its health. */
  readonly health: boolean;
}

const nameOf = ({ balance, sticky, health }: Shape): string =>
  ["http", balance, ...(sticky ? ["sticky"] : []), ...(health ? ["health"] : [])].join(":");

const shapes: readonly Shape[] = (Object.keys(balanceLines) as Balance[]).flatMap((balance) =>
  [false, true].flatMap((sticky) => [false, true].map((health) => ({ balance, sticky, health }))),
);

/** The shape of an HTTP service. */
export const shapeOf = ({ balance, sticky, healthPath }: ServiceOptions): string =>
  nameOf({ balance, sticky, health: healthPath !== undefined });

export const checkAgent = "switchyard-health-check";
/**
 * The statuses of a healthy instance. Any service that speaks HTTP is up, also one that has nothing at / (404) or no HEAD
 * (405, 501). One that names a path for its health means it.
 */
export const healthyStatus = (ownPath: boolean): string => (ownPath ? "200-399" : "200-499,501");

/** A `defaults` section for each shape, on top of `http:common`. */
export function shapeSections({ dir, trusted = [] }: Pick<RenderOptions, "dir" | "trusted">): string {
  // A trusted peer may have taken something off as well.
  const outer = trusted.length === 0 ? "" : "%[var(txn.outer)]";
  const prefix = `${outer}%[var(txn.route),field(3,|)]`;
  const look = (map: OptionMap, method: string) => `be_name,${method}(${dir}/${map}`;
  const send = (what: string) =>
    `http-check send ${what} ver HTTP/1.1 hdr Host %[${look("hosts.map", "map_str")},localhost)] hdr User-Agent ${checkAgent}`;
  return shapes
    .map((shape) =>
      lines(`defaults ${nameOf(shape)} from http:common`, [
        ...balanceLines[shape.balance],
        ...(shape.sticky
          ? [
              "cookie SWITCHYARD insert indirect nocache httponly attr SameSite=Lax",
              // HAProxy's cookie is for every path; two sticky services of one host would take each other's away.
              `http-after-response replace-header Set-Cookie '^(SWITCHYARD=[^;]*;.path=)/(.*)$' '\\1${prefix}\\2'`,
              `http-after-response add-header Set-Cookie '${slotCookie}=%[var(txn.drawn)]; path=${prefix}; HttpOnly; SameSite=Lax' if { var(txn.drawn) -m found }`,
            ]
          : []),
        send(shape.health ? `meth GET uri-lf %[${look("health.map", "map_str")},/)]` : "meth HEAD uri /"),
        `http-check expect status ${healthyStatus(shape.health)}`,
        ...(outer === "" ? [] : ["http-request set-var(txn.outer) req.hdr(x-forwarded-prefix)"]),
        "http-request set-var(txn.from) var(txn.route),field(2,|)",
        `http-request set-header X-Forwarded-Prefix ${prefix} if { var(txn.from) -m int gt 1 }`,
        "http-request set-path /%[path,bytes(txn.from)]",
        `http-request set-timeout server ${look("timeouts.map", "map_str_int")})`,
      ]),
    )
    .join("\n");
}

export interface Spare {
  readonly name: string;
  readonly shape: string;
}

const spares = (count: number, name: string, shape: Shape): Spare[] =>
  Array.from({ length: count }, (_, index) => ({ name: `${name}:${index}`, shape: nameOf(shape) }));

/**
 * HAProxy takes no new backend while it runs; new services take over these. Enough for a burst of services of
 * the ordinary shapes; each costs a few kB.
 */
export const spareBackends: readonly Spare[] = [
  ...spares(32, "spare", { balance: "roundrobin", sticky: false, health: false }),
  ...spares(16, "spare:health", { balance: "roundrobin", sticky: false, health: true }),
];
