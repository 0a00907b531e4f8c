import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** One call that a fake engine received. */
export interface Call {
  readonly what: string;
  readonly query: Readonly<Record<string, string>>;
  readonly body: unknown;
  /** The login for a registry. */
  readonly login?: unknown;
}

/** For tests: a Docker Engine on a Unix socket. It returns prepared answers, and 404 for everything else. */
export interface FakeEngine {
  readonly host: string;
  readonly calls: Call[];
  /**
   * By "METHOD /path": a body, raw bytes, a status code, an error (500 with its message), or a function from the call to any
   * of these.
   */
  readonly answers: Record<string, unknown>;
  close(): void;
}

const loginOf = (header: unknown): Pick<Call, "login"> =>
  typeof header === "string"
    ? { login: JSON.parse(Buffer.from(header, "base64url").toString()) as unknown }
    : {};

export async function fakeEngine(): Promise<FakeEngine> {
  const folder = mkdtempSync(join(tmpdir(), "engine-"));
  const socket = join(folder, "docker.sock");
  const calls: Call[] = [];
  const answers: Record<string, unknown> = {};
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      const { pathname: path, searchParams } = new URL(request.url ?? "", "http://docker");
      const call = {
        what: `${request.method ?? ""} ${path}`,
        query: Object.fromEntries(searchParams),
        ...loginOf(request.headers["x-registry-auth"]),
        body: text === "" ? undefined : (JSON.parse(text) as unknown),
      };
      calls.push(call);
      const given = answers[call.what] ?? 404;
      const answer: unknown = typeof given === "function" ? (given as (call: Call) => unknown)(call) : given;
      const status = answer instanceof Error ? 500 : 200;
      response.statusCode = typeof answer === "number" ? answer : status;
      if (Buffer.isBuffer(answer)) {
        response.end(answer);
        return;
      }
      response.setHeader("content-type", "application/json");
      const said = answer instanceof Error ? { message: answer.message } : answer;
      response.end(JSON.stringify(typeof answer === "number" ? { message: `fake ${answer}` } : said));
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return {
    host: `unix://${socket}`,
    calls,
    answers,
    close() {
      server.closeAllConnections();
      server.close();
      rmSync(folder, { recursive: true });
    },
  };
}
