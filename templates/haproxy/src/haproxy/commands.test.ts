import { describe, expect, test } from "vitest";
import { buildRouting } from "../../../../routing/build";
import { render } from "../config/render";
import { instance, renderOptions } from "../testing";
import {
  complaints,
  parseHeld,
  parseLoad,
  parseMap,
  parseRequests,
  parseServersState,
  parseSessions,
  parseWaiting,
  serverStateFile,
  toCommands,
  toPayloads,
} from "./commands";
import type { Operation } from "./types";

const origin = { backend: "svc:a", server: "10.0.0.1:1", service: "a" };
const newServer: Operation = {
  kind: "add",
  origin,
  backend: "svc:a",
  server: "10.0.0.1:1",
  weight: 100,
  definition: "10.0.0.1:1 check",
  pace: "inter 2000ms",
};

test("a request is waiting, or has a connection to a server", () => {
  const row = (id: string, server: string, state: number) =>
    `${id}: proto=tcpv4 src=127.0.0.1:58440 fe=http be=svc:a srv=${server} ts=00 epoch=0 age=1s calls=2 rate=1 cpu=0 lat=0 rq[f=1800000h,i=16332,an=8000h,ax=] rp[f=80000000h,i=0,an=00h,ax=] scf=[8,482h,fd=14,rex=,wex=] scb=[${state},1h,fd=-1,rex=,wex=] exp=0s rc=1 c_exp=0s`;
  const answer = `${row("0x7e00", "10.0.0.1:1", 3)}\n${row("0x7f00", "<none>", 8)}\n\n`;
  expect(parseSessions(answer)).toEqual([
    { id: "0x7e00", server: "svc:a/10.0.0.1:1", isConnected: false },
    { id: "0x7f00", server: "svc:a/<none>", isConnected: true },
  ]);
});

test("the load of a backend is that of its servers, and their queues with its own", () => {
  const head =
    "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,";
  const row = (start: string, econ: number, failed: string) =>
    `${start},,${econ},9,9,9,UP,1,1,0,0,0,5,5,,1,3,1,,0,,2,0,,2,L4OK,,0,0,4,0,0,${failed},0,`;
  const answer = [
    head,
    row("svc:a,10.0.0.1:1,1,9,20,50,,118,9,9,,9", 1, "4"),
    row("svc:a,10.0.0.1:2,0,9,22,50,,7,9,9,,9", 1, "0"),
    row("svc:a,BACKEND,2,9,45,90,400,130,9,9,9,9", 2, "6"),
    row("svc:db,10.0.0.1:3,0,9,3,50,,3,9,9,,9", 8, ""),
    row("svc:db,BACKEND,0,9,3,50,400,3,9,9,9,9", 8, ""),
    "",
  ];
  expect(parseLoad(answer.join("\n"))).toEqual([
    {
      backend: "svc:a",
      concurrent: 42,
      queued: 3,
      errors: 6,
      requests: new Map([
        ["10.0.0.1:1", 118],
        ["10.0.0.1:2", 7],
      ]),
    },
    { backend: "svc:db", concurrent: 3, queued: 0, errors: 8, requests: new Map([["10.0.0.1:3", 3]]) },
  ]);
});

test("held requests are counted by service, and those without a server have a client", () => {
  const table = [
    "# table: held, type: string, size:10240, used:3",
    "0x7f7bfd220288: key=hello/v1 use=4 exp=58656 shard=0 conn_cur=4",
    "0x7f7bfd220488: key=hello/v1 use=1 exp=58656 shard=0 conn_cur=1",
    "0x7f7bfd220388: key=shop use=0 exp=1 shard=0 conn_cur=0",
    "",
  ];
  expect(parseHeld(table.join("\n"))).toEqual(new Map([["hello/v1", 5]]));
  const row = (proto: string, client: string, server: string) =>
    `0x7e00: proto=${proto} src=${client} fe=http be=svc:a srv=${server} ts=00 epoch=0 age=1s`;
  const rows = [
    row("tcpv4", "127.0.0.1:58440", "<none>"),
    row("tcpv6", "2001:db8::1:42202", "<none>"),
    row("tcpv4", "127.0.0.1:58441", "10.0.0.1:1"),
    row("unix_stream", "unix:1", "<none>"),
  ];
  expect(parseWaiting(rows.join("\n"))).toEqual([
    { id: "0x7e00", backend: "svc:a", client: "127.0.0.1:58440" },
    { id: "0x7e00", backend: "svc:a", client: "2001:db8::1:42202" },
  ]);
});

test("a new server is down until its first good check", () => {
  expect(toCommands(newServer, "/d", new Set(["svc:a/10.0.0.1:2"]))).toEqual([
    "add server svc:a/10.0.0.1:1 10.0.0.1:1 check guid srv:svc:a_10.0.0.1:1 inter 2000ms weight 100",
    "enable health svc:a/10.0.0.1:1",
    "set server svc:a/10.0.0.1:1 state drain",
    "set server svc:a/10.0.0.1:1 health down",
    "set server svc:a/10.0.0.1:1 state ready",
  ]);
});

test("a server that is known to answer is up at once", () => {
  const answering = new Set(["svc:a/10.0.0.1:1"]);
  const up = [
    "enable health svc:a/10.0.0.1:1",
    "set server svc:a/10.0.0.1:1 state ready",
    "set server svc:a/10.0.0.1:1 health up",
  ];
  expect(toCommands(newServer, "/d", answering).slice(1)).toEqual(up);
  const back: Operation = { kind: "return", backend: "svc:a", server: "10.0.0.1:1", origin, weight: 7 };
  expect(toCommands(back, "/d", answering)).toEqual(["set weight svc:a/10.0.0.1:1 7", ...up]);
});

test("commands go in order, in lines that fit HAProxy's buffer", () => {
  const commands = Array.from(
    { length: 1_000 },
    (_, index) => `add map /d/routes.map */service-${index}/ svc:x|9|-|9|x`,
  );
  const payloads = toPayloads(commands);
  expect(payloads.length).toBeGreaterThan(1);
  expect(Math.max(...payloads.map(({ length }) => length))).toBeLessThanOrEqual(12 * 1024);
  expect(payloads.join(";").split(";")).toEqual(commands);
  expect(toPayloads([])).toEqual([]);
});

test("complaints are warnings or worse", () => {
  expect(complaints("\n[6]: New server registered.\n\n[3]: No such server.\n\n[4]: 'x'\n")).toEqual([
    "No such server.",
    "'x'",
  ]);
});

describe("HAProxy's answers", () => {
  const state = (op: number, admin: number, check = 1) =>
    `1\n# be_id be_name\n4 svc:a 1 10.0.0.1:80 10.0.0.1 ${op} ${admin} 7 100 19 ${check} 2 0 6 0 0 0 - 80 - 0 0 - - 0\n\n`;

  test.each([
    [2, 0, true, false],
    [0, 0, false, false],
    [0, 1, false, true],
    [2, 8, true, false],
  ])("state %i, administrative state %i", (op, admin, up, maintenance) => {
    expect(parseServersState(state(op, admin))).toEqual([
      { backend: "svc:a", server: "10.0.0.1:80", up, maintenance, weight: 7 },
    ]);
  });

  test.each([
    [0, 8, "refuses connections, or cannot be reached"],
    [0, 17, "answers its health check with an error"],
    // The connection was made: HAProxy has this status for one that breaks before the answer.
    [0, 5, "takes connections and closes them without an answer; if it speaks TLS, set SERVICE_PROTO=https"],
    [0, 11, "does not complete the TLS handshake, or its certificate is not valid for it"],
    [0, 13, "answers, but not in HTTP; if it speaks TLS, set SERVICE_PROTO=https"],
    [0, 1, undefined],
    [0, 15, undefined],
    [2, 8, undefined],
  ])("state %i, check status %i: %s", (op, check, said) => {
    expect(parseServersState(state(op, 0, check))[0]?.check).toBe(said);
  });

  test("a map", () => {
    expect(parseMap("0x55 */a/ svc:a|2|-|2|a\n0x56 x.org/ svc:b|0|-|1|b\n\n")).toEqual(
      new Map([
        ["*/a/", "svc:a|2|-|2|a"],
        ["x.org/", "svc:b|0|-|1|b"],
      ]),
    );
  });

  test("the requests of a backend", () => {
    const columns = "# pxname,svname,qcur,qmax,scur,smax,";
    expect(parseRequests(`${columns}\nspare:0,BACKEND,0,0,3,4,\n\n`)).toBe(3);
    expect(parseRequests(`${columns}\n\n`)).toBe(0);
  });
});

test("the server state file says who is up", () => {
  const servers = [
    { name: "10.0.0.1:80", origin, address: "10.0.0.1", port: 80, weight: 5, definition: "" },
    { name: "10.0.0.1:81", origin, address: "10.0.0.1", port: 81, weight: 6, definition: "" },
  ];
  const text = serverStateFile(
    [{ name: "svc:a", options: undefined, servers }],
    new Set(["svc:a/10.0.0.1:81"]),
  );
  expect(parseServersState(text)).toEqual([
    { backend: "svc:a", server: "10.0.0.1:80", up: false, maintenance: false, weight: 5 },
    { backend: "svc:a", server: "10.0.0.1:81", up: true, maintenance: false, weight: 6 },
  ]);
});

test("a server with TLS keeps it, which the file would take away", () => {
  const meta = { proto: "https", tls_verify: "false" };
  const routing = buildRouting({ instances: [instance("a", 1, { meta }), instance("b", 2)], kv: {} });
  const rows = serverStateFile(render(routing, renderOptions).backends, new Set()).split("\n");
  const [, columns = "", ...states] = rows;
  const index = columns.split(" ").indexOf("srv_use_ssl") - 1;
  expect(states.slice(0, 2).map((row) => `${row.split(" ")[1]} ${row.split(" ")[index]}`)).toEqual([
    "svc:a 1",
    "svc:b 0",
  ]);
});
