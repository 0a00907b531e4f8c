import { mkdtempSync } from "node:fs";
import * as http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable, Writable } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import { demultiplex, type Engine } from "./exec";
import { keeper, requestDump } from "./keeper";
import { messageOf } from "../../../lib/errors";
import { listenAt } from "../../../lib/listen";

const programs = { db: ["pg_dump", "shop"] };

/** An engine on which one service runs, whose program says something and ends. */
function engine(says: string, code: number): Pick<Engine, "instanceOf" | "exec"> {
  return {
    instanceOf: (service) => Promise.resolve(service === "db" ? "c1" : undefined),
    exec: (container, program, { output }) => {
      expect([container, program]).toEqual(["c1", programs.db]);
      output.write(says);
      return Promise.resolve({ code, errors: "no such table" });
    },
  };
}

async function listening(on: Pick<Engine, "instanceOf" | "exec">): Promise<string> {
  const socket = path.join(mkdtempSync(path.join(tmpdir(), "switchyard-keeper-")), "docker.sock");
  const server = keeper(on, { ...programs, gone: ["true"] }, () => undefined);
  onTestFinished(() => void server.close());
  await listenAt(server, socket);
  return socket;
}

async function dumped(service: string, socket: string): Promise<string> {
  let text = "";
  const output = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  await requestDump(service, output, socket);
  return text;
}

test("a dump is the output of the service's program", async () => {
  expect(await dumped("db", await listening(engine("rows", 0)))).toBe("rows");
});

test("a dump that fails says so after its output", async () => {
  const socket = await listening(engine("half of the rows", 1));
  await expect(dumped("db", socket)).rejects.toThrow("the dump failed: pg_dump: exit code 1: no such table");
  await expect(dumped("gone", socket)).rejects.toThrow("gone does not run on this node");
});

test("a dump that fails with many other characters than letters says so, and others go on", async () => {
  const failing = async (errors: string): Promise<string> => {
    const socket = await listening({ ...engine("", 1), exec: () => Promise.resolve({ code: 1, errors }) });
    const failure = await dumped("db", socket).catch(messageOf);
    await expect(dumped("gone", socket)).rejects.toThrow("gone does not run on this node");
    return failure;
  };
  const says = "the dump failed: pg_dump: exit code 1: ";
  // An emoji is two code units, and the end of a text may begin between them.
  expect(await failing(`${"😀".repeat(1_001)}x`.slice(-2_000))).toBe(`${says}\ufffd${"😀".repeat(999)}x`);
  expect(await failing("中".repeat(2_000))).toBe(`${says}${"中".repeat(2_000)}`);
  expect(await failing("中".repeat(100_000))).toMatch(
    /^the dump failed: pg_dump: exit code 1: 中{2900,3000}$/,
  );
});

test("a dump that breaks off fails", async () => {
  const socket = await listening({
    ...engine("", 0),
    exec: (_container, _program, { output }) => {
      output.write("half");
      output.destroy();
      return new Promise(() => undefined);
    },
  });
  await expect(dumped("db", socket)).rejects.toThrow();
});

test.each([
  ["POST", "/dump/web"],
  ["POST", "/dump/constructor"],
  ["POST", "/containers/create"],
  ["GET", "/dump/db"],
  ["GET", "/containers/json"],
])("%s %s is refused", async (method, path) => {
  const socketPath = await listening(engine("rows", 0));
  const status = await new Promise((resolve) => {
    http
      .request({ socketPath, method, path }, (response) => {
        resolve(response.resume().statusCode);
      })
      .end();
  });
  expect(status).toBe(403);
});

test("the pieces of both streams are told apart, wherever they are cut", async () => {
  const piece = (kind: number, text: string): Buffer => {
    const head = Buffer.alloc(8);
    head[0] = kind;
    head.writeUInt32BE(Buffer.byteLength(text), 4);
    return Buffer.concat([head, Buffer.from(text)]);
  };
  const all = Buffer.concat([piece(1, "one"), piece(2, "error"), piece(1, ""), piece(1, "two")]);
  for (let cut = 1; cut < all.length; cut++) {
    const seen = ["", "", ""];
    await demultiplex(Readable.from([all.subarray(0, cut), all.subarray(cut)]), (kind, chunk) => {
      seen[kind] = `${seen[kind] ?? ""}${chunk.toString()}`;
      return Promise.resolve();
    });
    expect(seen).toEqual(["", "onetwo", "error"]);
  }
});
