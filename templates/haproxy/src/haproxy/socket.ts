/** HAProxy's sockets. A question has its whole answer, or it fails: an answer that was cut must not be taken for the state. */
import { createConnection, type Socket } from "node:net";
import { Mutex } from "../../../../lib/mutex";

const maxAnswerBytes = 64 * 1024 * 1024;
const answerTimeoutMs = 10_000;

/** Ends every question to a worker: once its answer is there, so is everything before it. */
const last = "show cli level";

/**
 * Asks one question on a connection of its own.
 *
 * @throws Error when HAProxy cannot be asked, is silent for `timeoutMs`, or closes the connection before its answer is whole
 */
export function ask(path: string, question: string, timeoutMs = answerTimeoutMs): Promise<string> {
  const isMaster = path.endsWith("/master.sock");
  // A payload ends its line, so no command can follow it. The master does not go on after `reload`.
  const isMarked = !isMaster && !question.includes("<<");
  // Otherwise an answer ends with an empty line, which is all that a command without output gives, except when the master does not
  // find the worker.
  const end = isMarked ? /(\[6\]: )?admin\n\n$/ : /(?<=\n\n|^\n|^Can't find the target [^\n]*\n)$/;
  return new Promise((resolve, reject) => {
    const line = isMarked ? `${question};${last}\n` : `${question}\n`;
    const chunks: Buffer[] = [];
    let size = 0;
    const socket = createConnection(path);
    const fail = (reason: string) => {
      socket.destroy();
      reject(new Error(`HAProxy's socket ${path} ${reason}`));
    };
    const timer = setTimeout(() => {
      fail(`gave no answer within ${timeoutMs} ms`);
    }, timeoutMs);
    // The master closes its socket only after we have: without an end it would wait for the next question.
    socket.on("connect", () => (isMaster ? socket.end(line) : socket.write(line)));
    socket.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxAnswerBytes) fail("answered with more than 64 MiB");
      else chunks.push(chunk);
    });
    socket.on("error", (error: Error) => {
      clearTimeout(timer);
      fail(`cannot be used: ${error.message}`);
    });
    socket.on("close", () => {
      clearTimeout(timer);
      const answer = Buffer.concat(chunks).toString("utf8");
      if (end.test(answer)) resolve(answer.replace(end, ""));
      else fail("was closed before it had answered");
    });
  });
}

const prompt = "\n> ";
const opening = ["prompt", "set severity-output number"];
/** HAProxy prompts after each command of a line, since 3.4 after the line, so only a known last answer tells the end. */
const lastAnswer = `[6]: admin\n${prompt}`;

/**
 * One connection for many commands, in HAProxy's interactive mode: opening one costs ten times as much as a command. Only
 * for commands without a payload, whose answers are short and have no line that begins like the prompt.
 */
export class Session {
  private socket: Socket | undefined;
  private readonly mutex = new Mutex();

  constructor(
    private readonly path: string,
    private readonly timeoutMs = answerTimeoutMs,
  ) {}

  /** Sends commands separated by `;`. In the answer each message has its severity in front, as in `[6]: …`. */
  ask(commands: string): Promise<string> {
    return this.mutex.runExclusive(() => this.exchange(commands));
  }

  /** Closes the connection; the next command opens another, to the worker that is there by then. */
  close(): void {
    this.socket?.destroy();
    this.socket = undefined;
  }

  private exchange(commands: string): Promise<string> {
    const known = this.socket;
    const socket = (this.socket = known ?? this.open());
    const lines = [...(known === undefined ? opening : []), `${commands};${last}`];
    return new Promise((resolve, reject) => {
      let answer = "";
      const end = (failure?: string) => {
        clearTimeout(timer);
        socket.off("data", onData).off("close", onClose);
        if (failure === undefined) {
          resolve(answer.slice(0, -lastAnswer.length).replaceAll(prompt, "\n"));
          return;
        }
        if (this.socket === socket) this.close();
        reject(new Error(`HAProxy's socket ${this.path} ${failure}`));
      };
      const onData = (chunk: string) => {
        answer += chunk;
        if (answer.endsWith(lastAnswer)) end();
      };
      const onClose = () => {
        const { errored } = socket;
        end(errored === null ? "was closed before it had answered" : `cannot be used: ${errored.message}`);
      };
      const timer = setTimeout(() => {
        end(`gave no answer within ${this.timeoutMs} ms`);
      }, this.timeoutMs);
      socket.on("data", onData).on("close", onClose);
      socket.write(lines.map((line) => `${line}\n`).join(""));
    });
  }

  private open(): Socket {
    const socket = createConnection(this.path).setEncoding("utf8");
    // "close" follows and reports it.
    socket.on("error", () => undefined);
    socket.on("close", () => {
      if (this.socket === socket) this.socket = undefined;
    });
    return socket;
  }
}
