/** Runs programs in containers over the Docker Engine's socket, with their input and output as streams. */
import { once } from "node:events";
import * as http from "node:http";
import { addAbortSignal, type Duplex, type Writable } from "node:stream";
import { UserError } from "../../../lib/errors";
import { HttpClient } from "../../../lib/http";
import { isMapping, parseJson } from "../../../lib/values";

/** A busy engine may take its time. */
const answerMs = 120_000;

/** The piece of Docker's API that this program uses. */
export class Engine {
  private readonly http: HttpClient;

  constructor(private readonly socketPath: string) {
    // What is sent again only makes a program ready once more; it starts elsewhere.
    this.http = new HttpClient({ socketPath });
  }

  /** The ID of the running instance of a Swarm service; undefined unless there is exactly one on this node. */
  async instanceOf(service: string): Promise<string | undefined> {
    const filters = { label: [`com.docker.swarm.service.name=${service}`], status: ["running"] };
    const found = await this.json(
      "GET",
      `/containers/json?filters=${encodeURIComponent(JSON.stringify(filters))}`,
    );
    const [only, ...others] = Array.isArray(found) ? found.filter(isMapping) : [];
    return others.length === 0 && typeof only?.["Id"] === "string" ? only["Id"] : undefined;
  }

  /**
   * Runs a program in a container. Its standard output goes to `output`, which is not ended. If that closes, Docker discards the
   * rest: otherwise the program would wait forever for a reader, and a dump would hold its database locks.
   *
   * @param input becomes its standard input; without it, it has none
   * @returns its exit code, and the end of its standard error
   * @throws UserError if `output` closes before the program ends
   */
  async exec(
    container: string,
    program: readonly string[],
    { output, input }: { readonly output: Writable; readonly input?: (stream: Writable) => void },
  ): Promise<{ code: number; errors: string }> {
    const created = await this.json("POST", `/containers/${container}/exec`, {
      Cmd: program,
      AttachStdin: input !== undefined,
      AttachStdout: true,
      AttachStderr: true,
    });
    const id = isMapping(created) ? String(created["Id"]) : "";
    const gone = new AbortController();
    const leave = (): void => {
      gone.abort(new UserError("nobody takes its output any more"));
    };
    output.once("close", leave);
    if (output.destroyed) leave();
    gone.signal.throwIfAborted();
    let errors = "";
    try {
      const stream = await this.attach(`/exec/${id}/start`);
      addAbortSignal(gone.signal, stream);
      input?.(stream);
      if (input === undefined) stream.end();
      await demultiplex(stream, async (kind, chunk) => {
        if (kind === 2) errors = (errors + chunk.toString()).slice(-2_000);
        else if (!output.write(chunk)) await once(output, "drain", { signal: gone.signal });
      });
    } catch (error) {
      gone.signal.throwIfAborted();
      throw error;
    } finally {
      output.off("close", leave);
    }
    const state = await this.json("GET", `/exec/${id}/json`);
    const code = isMapping(state) && typeof state["ExitCode"] === "number" ? state["ExitCode"] : 1;
    return { code, errors: errors.trim() };
  }

  /** Starts an exec; the connection becomes its streams. */
  private attach(path: string): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const request = http.request({
        socketPath: this.socketPath,
        method: "POST",
        path,
        headers: { "Content-Type": "application/json", Connection: "Upgrade", Upgrade: "tcp" },
      });
      request.on("error", reject);
      request.on("upgrade", (_response, socket: Duplex, head: Buffer) => {
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
      });
      request.on("response", ({ statusCode = 0 }) => {
        reject(new Error(`Docker did not start the program: status ${statusCode}`));
      });
      request.end(JSON.stringify({ Detach: false, Tty: false }));
    });
  }

  private async json(method: string, path: string, sent?: object): Promise<unknown> {
    const { status, body } = await this.http.request(method, path, {
      ...(sent !== undefined && { body: sent }),
      timeoutMs: answerMs,
    });
    const parsed = parseJson(body);
    if (status < 300) return parsed;
    throw new Error(isMapping(parsed) ? String(parsed["message"]) : body);
  }
}

/** Splits Docker's stream of framed pieces: 1 is standard output, 2 standard error. */
export async function demultiplex(
  stream: AsyncIterable<Buffer | string>,
  take: (kind: number, chunk: Buffer) => Promise<void>,
): Promise<void> {
  let rest = Buffer.alloc(0);
  for await (const chunk of stream) {
    rest = Buffer.concat([rest, Buffer.from(chunk as Buffer)]);
    while (rest.length >= 8) {
      const end = 8 + rest.readUInt32BE(4);
      if (rest.length < end) break;
      await take(rest[0] ?? 1, rest.subarray(8, end));
      rest = rest.subarray(end);
    }
  }
}
