import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ask, Session } from "./socket";

const dir = mkdtempSync(join(tmpdir(), "switchyard-"));
const path = join(dir, "worker.sock");

const opening = ["prompt", "set severity-output number"];

let server: Server;
let connections: Socket[];
/** What each connection was sent, line by line. */
let heard: string[][];
/** What is said to a command, prompt and all. */
let say: (command: string, socket: Socket) => void;

beforeEach(async () => {
  connections = [];
  heard = [];
  say = (command, socket) => {
    const said = command === "show cli level" ? "admin" : command;
    socket.write(opening.includes(command) ? "\n> " : `[6]: ${said}\n\n> `);
  };
  server = createServer((socket) => {
    connections.push(socket);
    const lines: string[] = [];
    heard.push(lines);
    socket.setEncoding("utf8").on("data", (text: string) => {
      for (const line of text.split("\n").filter((each) => each !== "")) {
        lines.push(line);
        for (const command of line.split(";")) say(command, socket);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
});

afterEach(async () => {
  for (const socket of connections) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  rmSync(path, { force: true });
});

test("sends many commands over one connection, one after the other", async () => {
  const session = new Session(path);
  const answers = await Promise.all([session.ask("one"), session.ask("two;three"), session.ask("four")]);
  expect(answers.map((answer) => answer.trim())).toEqual(["[6]: one", "[6]: two\n\n[6]: three", "[6]: four"]);
  expect(heard).toEqual([
    [...opening, "one;show cli level", "two;three;show cli level", "four;show cli level"],
  ]);
});

test("waits for an answer that arrives in pieces", async () => {
  const usual = say;
  say = (command, socket) => {
    if (command === "show cli level") {
      socket.write("[6]: adm");
      setTimeout(() => socket.write("in\n\n"), 20);
      setTimeout(() => socket.write("> "), 40);
    } else usual(command, socket);
  };
  expect((await new Session(path).ask("slow")).trim()).toBe("[6]: slow");
});

test("reads the answer of HAProxy 3.4, which prompts after a line, not after each command", async () => {
  say = (command, socket) => {
    if (command === "show cli level") socket.write("[6]: admin\n\n> ");
    else socket.write(opening.includes(command) ? "\n> " : `[6]: ${command}\n\n`);
  };
  expect((await new Session(path).ask("one;two")).trim()).toBe("[6]: one\n\n[6]: two");
});

test("opens another connection after HAProxy has closed one", async () => {
  const session = new Session(path);
  await session.ask("one");
  connections[0]?.end();
  await new Promise((resolve) => connections[0]?.once("close", resolve));
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await session.ask("two")).toContain("two");
  session.close();
  expect(await session.ask("three")).toContain("three");
  expect(heard.map((lines) => lines.at(-1))).toEqual([
    "one;show cli level",
    "two;show cli level",
    "three;show cli level",
  ]);
});

test("fails on a closed connection and on silence, and recovers with the next command", async () => {
  const session = new Session(path, 50);
  const usual = say;
  say = (command, socket) => {
    if (command === "bad") socket.destroy();
    else usual(command, socket);
  };
  await expect(session.ask("bad")).rejects.toThrow(
    `HAProxy's socket ${path} was closed before it had answered`,
  );
  expect(await session.ask("good")).toContain("good");
  say = () => undefined;
  await expect(session.ask("silence")).rejects.toThrow("gave no answer within 50 ms");
  say = usual;
  expect(await session.ask("good")).toContain("good");
});

/** A socket that answers every connection with `text` and closes it, as a worker does that ends in the middle. */
async function closing(name: string, text: string): Promise<{ socket: string; close: () => void }> {
  const socket = join(dir, name);
  const cut = createServer((connection) => connection.once("data", () => connection.end(text)));
  await new Promise<void>((resolve) => cut.listen(socket, resolve));
  return { socket, close: () => cut.close() };
}

test.each([
  ["a map cut at the end of a line", "cut-map.sock", "show map x", "0x1 a/ b\n0x2 c/ d\n"],
  ["the first of two answers", "cut-two.sock", "show servers state a;show servers state b", "1\n# be_id\n\n"],
  ["nothing", "cut-all.sock", "show version", ""],
  ["an answer to a payload", "cut-payload.sock", "set ssl cert x <<\npem\n", "Transaction cre"],
  ["an answer of the master", "master.sock", "show proc", "#<PID> <type>\n11 master\n"],
])("%s on a connection that HAProxy closes early is no answer", async (_what, name, question, text) => {
  const { socket, close } = await closing(name, text);
  await expect(ask(socket, question)).rejects.toThrow("was closed before it had answered");
  close();
});

test("the master says in one line that a worker is gone", async () => {
  const { socket, close } = await closing(
    "master.sock",
    "Can't find the target PID matching the prefix '@!1'\n",
  );
  expect(await ask(socket, "@!1 show sess")).toContain("Can't find");
  close();
});

test.each([
  ["show map x", "0x1 a/ b\n\nadmin\n\n", "0x1 a/ b\n\n"],
  [
    "set severity-output number;bogus",
    "\n[6]: Unknown command\n\n[6]: admin\n\n",
    "\n[6]: Unknown command\n\n",
  ],
  ["set ssl cert x <<\npem\n", "Transaction created\n\n", "Transaction created\n\n"],
])("a whole answer to %j is what HAProxy said to it", async (question, said, answer) => {
  const { socket, close } = await closing("whole.sock", said);
  expect(await ask(socket, question)).toBe(answer);
  close();
});
