import { mkdtempSync } from "node:fs";
import * as http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Duplex } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import { listenAt } from "../../../lib/listen";
import { Engine } from "./exec";
import { keeper } from "./keeper";

const folderOf = (): string => mkdtempSync(path.join(tmpdir(), "switchyard-exec-"));

/** An engine with one container, in which a program writes for as long as somebody takes it. */
async function endless(): Promise<{ socket: string; attached: Duplex[]; closed: Promise<void> }> {
  const socket = path.join(folderOf(), "engine.sock");
  const attached: Duplex[] = [];
  const answers: Readonly<Record<string, unknown>> = {
    "/containers/json": [{ Id: "c1" }],
    "/containers/c1/exec": { Id: "e1" },
    "/exec/e1/json": { ExitCode: 0 },
  };
  const server = http.createServer((request, response) => {
    response.end(JSON.stringify(answers[request.url?.split("?")[0] ?? ""] ?? {}));
  });
  const closed = new Promise<void>((resolve) => {
    server.on("upgrade", (_request, stream: Duplex) => {
      attached.push(stream);
      stream.on("error", () => undefined).on("close", resolve);
      stream.write("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
      const piece = Buffer.alloc(8 + 65_536);
      piece[0] = 1;
      piece.writeUInt32BE(65_536, 4);
      const more = (): void => {
        while (!stream.destroyed && stream.write(piece));
      };
      stream.on("drain", more);
      more();
    });
  });
  onTestFinished(() => {
    for (const stream of attached) stream.destroy();
    server.close();
  });
  await listenAt(server, socket);
  return { socket, attached, closed };
}

test("a dump whose reader goes away ends its connection to the program", async () => {
  const engine = await endless();
  const socketPath = path.join(folderOf(), "keeper.sock");
  const logged: string[] = [];
  const server = keeper(new Engine(engine.socket), { db: ["dump"] }, (line) => logged.push(line));
  onTestFinished(() => void server.close());
  await listenAt(server, socketPath);
  const request = http.request({ socketPath, method: "POST", path: "/dump/db" }).on("error", () => undefined);
  // It takes a little, and lets the rest wait.
  const response = await new Promise<http.IncomingMessage>((resolve) => {
    request.on("response", resolve).end();
  });
  response.on("error", () => undefined);
  await new Promise((resolve) => response.once("readable", resolve));
  request.destroy();
  await engine.closed;
  await expect.poll(() => logged).toEqual(["dump of db: nobody takes its output any more"]);
});

test("nothing is started for somebody who is gone", async () => {
  const engine = await endless();
  const output = new http.ServerResponse(new http.IncomingMessage(undefined as never));
  output.destroy();
  const running = new Engine(engine.socket).exec("c1", ["dump"], { output });
  await expect(running).rejects.toThrow("nobody takes its output any more");
  expect(engine.attached).toEqual([]);
});
