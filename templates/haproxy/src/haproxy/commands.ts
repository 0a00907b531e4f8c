/** Operations as HAProxy's runtime commands, and its answers read. Pure. */
import { serverName } from "../../../../routing/grammar";
import { tlsOf } from "../../../../routing/options/proto";
import { serverGuid } from "../config/counters";
import { textOf, type RenderedBackend } from "../config/types";
import type { Operation } from "./types";

/** One command line must fit HAProxy's buffer of 16 KiB. */
const maxPayload = 12 * 1024;

/** Brings up a server that has been seen to answer. */
export const healthUp = (server: string): string => `set server ${server} health up`;

/**
 * HAProxy takes a server that leaves maintenance for healthy until a check fails. One that is not known to answer gets there
 * through "drain, down, ready", so that no request is sent to it before its first good check.
 */
const bringUp = (server: string, answers: boolean): string[] =>
  answers
    ? [`enable health ${server}`, `set server ${server} state ready`, healthUp(server)]
    : [
        `enable health ${server}`,
        `set server ${server} state drain`,
        `set server ${server} health down`,
        `set server ${server} state ready`,
      ];

/** `answering`: the new servers (`backend/server`) that are known to answer, which need not wait for a check. */
export function toCommands(
  operation: Operation,
  dir: string,
  answering: ReadonlySet<string> = new Set(),
): string[] {
  switch (operation.kind) {
    case "add": {
      const server = `${operation.backend}/${operation.server}`;
      const { definition, pace, weight } = operation;
      const guid = serverGuid(operation.backend, operation.server);
      return [
        `add server ${server} ${definition} guid ${guid} ${pace} weight ${weight}`,
        ...bringUp(server, answering.has(server)),
      ];
    }
    case "return": {
      const server = `${operation.backend}/${operation.server}`;
      return [`set weight ${server} ${operation.weight}`, ...bringUp(server, answering.has(server))];
    }
    case "weight":
      return [`set weight ${operation.backend}/${operation.server} ${operation.weight}`];
    case "leave":
      return [`set server ${operation.backend}/${operation.server} state maint`];
    case "map":
      return [`${operation.change} map ${dir}/${operation.map} ${operation.key} ${textOf(operation.value)}`];
    case "unmap":
      return [`del map ${dir}/${operation.map} ${operation.key}`];
  }
}

/** Commands in lines that HAProxy takes at once, in order. */
export function toPayloads(commands: readonly string[]): string[] {
  const payloads: string[] = [];
  let current = "";
  for (const command of commands) {
    if (current !== "" && current.length + command.length + 1 > maxPayload) {
      payloads.push(current);
      current = "";
    }
    current += current === "" ? command : `;${command}`;
  }
  if (current !== "") payloads.push(current);
  return payloads;
}

/** The complaints in an answer given after `set severity-output number`: anything from a warning up. */
export function complaints(answer: string): string[] {
  return answer.split("\n").flatMap((line) => {
    const match = /^\[([0-4])\]: ?(.*)$/.exec(line);
    return match?.[2] === undefined ? [] : [match[2]];
  });
}

export interface ServerState {
  readonly backend: string;
  readonly server: string;
  readonly up: boolean;
  readonly maintenance: boolean;
  readonly weight: number;
  /** What its last health check found, where that is a failure. */
  readonly check?: string;
}

/** HAProxy's `enum healthcheck_status` (include/haproxy/check-t.h), the same from 1.5 to 3.4: those that are failures. */
const failedChecks: Readonly<Record<string, string>> = {
  4: "requests could not connect",
  5: "takes connections and closes them without an answer; if it speaks TLS, set SERVICE_PROTO=https",
  7: "nothing there takes connections in time",
  8: "refuses connections, or cannot be reached",
  10: "takes connections and does not answer in TLS in time",
  11: "does not complete the TLS handshake, or its certificate is not valid for it",
  12: "takes connections and does not answer in time",
  13: "answers, but not in HTTP; if it speaks TLS, set SERVICE_PROTO=https",
  17: "answers its health check with an error",
};

/** The answer to `show servers state`. */
export function parseServersState(answer: string): ServerState[] {
  return stateRows(answer).flatMap(([, backend, , server, , operational, admin, weight, , , status = ""]) => {
    if (backend === undefined || server === undefined) return [];
    const maintenance = isInMaintenance(admin);
    const up = isUp(operational);
    const check = up || maintenance ? undefined : failedChecks[status];
    const found = { backend, server, up, maintenance, weight: Number(weight) };
    return [check === undefined ? found : { ...found, check }];
  });
}

/**
 * The servers that are up in the answer to `show servers state`, named by address and port as in a routing: a server in a slot
 * of the pool has another name and another backend in HAProxy.
 */
export function parseServersUp(answer: string): Set<string> {
  const up = new Set<string>();
  for (const { 4: address = "", 5: operational, 6: admin, 18: port } of stateRows(answer))
    if (isUp(operational) && !isInMaintenance(admin)) up.add(serverName(address, Number(port)));
  return up;
}

const stateRows = (answer: string): string[][] =>
  answer
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .map((line) => line.split(" "))
    .filter(({ length }) => length >= 15);

const isUp = (operational: string | undefined): boolean => operational === "2";

/** The lowest bits of the administrative state: forced, inherited and configured maintenance. */
const isInMaintenance = (admin: string | undefined): boolean => (Number(admin) & 0x27) !== 0;

/** The answer to `show map`: one "address key value" a line. */
export function parseMap(answer: string): Map<string, string> {
  const entries = new Map<string, string>();
  for (const line of answer.split("\n")) {
    const match = /^0x[0-9a-f]+ (\S+) (.*)$/.exec(line);
    if (match?.[1] !== undefined && match[2] !== undefined) entries.set(match[1], match[2]);
  }
  return entries;
}

/** HAProxy's state of a stream that has a connection to a server (`SC_ST_EST`, include/haproxy/stconn-t.h); earlier ones are lower. */
const established = 8;

/** A request, or a TCP connection. */
export interface Session {
  readonly id: string;
  /** `backend/server`. */
  readonly server: string;
  /** Whether it has a connection to the server. */
  readonly isConnected: boolean;
}

/** The answer to `show sess`. */
export const parseSessions = (answer: string): Session[] =>
  [...answer.matchAll(/^(0x[0-9a-f]+): .* be=(\S+) srv=(\S+) .* scb=\[(\d+),/gm)].map(
    ([, id = "", backend = "", server = "", state]) => ({
      id,
      server: `${backend}/${server}`,
      isConnected: Number(state) >= established,
    }),
  );

/** The open requests in the answer to `show stat` for one backend; 0 if there is no such backend. */
export function parseRequests(answer: string): number {
  const [columns = [], values = []] = answer
    .split("\n")
    .filter((line) => line.includes(","))
    .map((line) => line.split(","));
  return Number(values[columns.indexOf("scur")] ?? 0);
}

/** The load of a backend, from its own counters and those of its servers. */
export interface BackendLoad {
  readonly backend: string;
  /** Requests that its servers are working on. Its own `scur` counts those that wait as well. */
  concurrent: number;
  /** Requests that wait for a server to have room. */
  queued: number;
  /** Answers with 5xx, or for TCP failed connections, since HAProxy has counted. */
  errors: number;
  /** How many requests each server has been given since it was added. */
  readonly requests: Map<string, number>;
}

const loadColumns = ["pxname", "svname", "qcur", "scur", "stot", "econ", "hrsp_5xx"];

/** The answer to `show stat` for backends and servers. */
export function parseLoad(answer: string): BackendLoad[] {
  const [head = "", ...lines] = answer.split("\n");
  const names = head.replace(/^# /, "").split(",");
  const columns = loadColumns.map((name) => names.indexOf(name));
  const width = Math.max(...columns) + 1;
  const loads = new Map<string, BackendLoad>();
  for (const line of lines) {
    const fields = line.split(",", width);
    const [backend, server, queued, current, total, failed, status] = columns.map((index) => fields[index]);
    if (backend === undefined || server === undefined) continue;
    const load = loads.get(backend) ?? { backend, concurrent: 0, queued: 0, errors: 0, requests: new Map() };
    loads.set(backend, load);
    load.queued += Number(queued);
    if (server === "BACKEND") load.errors = Number(status === "" ? failed : status);
    else {
      load.concurrent += Number(current);
      load.requests.set(server, Number(total));
    }
  }
  return [...loads.values()];
}

/**
 * The answer to `show table` for one that counts the current requests of services, by service. Seen with 3.0.11: when two threads add
 * an entry at once, it stands there twice, and each counts its own.
 */
export function parseHeld(answer: string): Map<string, number> {
  const held = new Map<string, number>();
  for (const [, service = "", count] of answer.matchAll(/^0x\S+: key=(\S+) .*conn_cur=(\d+)$/gm))
    if (Number(count) > 0) held.set(service, (held.get(service) ?? 0) + Number(count));
  return held;
}

/** A request that has no server, with its client. */
export interface WaitingRequest {
  readonly id: string;
  readonly backend: string;
  /** Address and port. */
  readonly client: string;
}

/** The TCP connections with a request that has no server, in the answer to `show sess`. */
export const parseWaiting = (answer: string): WaitingRequest[] =>
  [...answer.matchAll(/^(0x[0-9a-f]+): proto=tcpv[46] src=(\S+) .*be=(\S+) srv=<none> /gm)].map(
    ([, id = "", client = "", backend = ""]) => ({ id, client, backend }),
  );

const stateColumns =
  "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port";

/**
 * The server states a new HAProxy process starts with: servers that were up stay up, all others are down until a check has
 * seen them. Without it every server would be up at once, also one that does not listen yet.
 */
export function serverStateFile(
  backends: readonly Pick<RenderedBackend, "name" | "options" | "servers">[],
  up: ReadonlySet<string>,
): string {
  const rows = backends.flatMap(({ name, options = {}, servers }) => {
    const tls = tlsOf(options) === undefined ? 0 : 1;
    return servers.map((server) => {
      const alive = up.has(`${name}/${server.name}`);
      const { address, port, weight } = server;
      const health = alive ? "2 0" : "0 0";
      // The status of a check: passed, or none made yet.
      const check = alive ? "15 3 3" : "1 2 0";
      return `0 ${name} 0 ${server.name} ${address} ${health} ${weight} ${weight} 1 ${check} 6 0 0 0 - ${port} - ${tls} 0 - - 0\n`;
    });
  });
  return `1\n# ${stateColumns}\n${rows.join("")}`;
}
