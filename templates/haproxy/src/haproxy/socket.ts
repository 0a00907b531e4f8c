/** HAProxy's sockets: a question and the whole answer. */
import { createConnection, type Socket } from "node:net";
import { Mutex } from "../../../../lib/mutex";

const maxAnswer = 64 * 1024 * 1024;
const patience = 10_000;

export function ask(path: string, question: string, timeout = patience): Promise<string> {
  return new Promise((resolve, reject) => {
    const line = `${question}\n`;
    const chunks: Buffer[] = [];
    let size = 0;
    const socket = createConnection(path);
    const fail = (reason: string) => {
      socket.destroy();
      reject(new Error(`HAProxy's socket ${path} ${reason}`));
    };
    const timer = setTimeout(() => {
      fail(`gave no answer within ${timeout} ms`);
    }, timeout);
    // The master's socket closes only after we have: without an end it would wait for the next question.
    socket.on("connect", () => (path.endsWith("/master.sock") ? socket.end(line) : socket.write(line)));
    socket.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxAnswer) fail("answered with more than 64 MiB");
      else chunks.push(chunk);
    });
    socket.on("error", (error: Error) => {
      clearTimeout(timer);
      fail(`cannot be used: ${error.message}`);
    });
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks).toString("utf8"));
    });
  });
}

const prompt = "\n> ";
const opening = ["prompt", "set severity-output number"];
/** HAProxy prompts after each command of a line, since 3.4 after the line; so each line ends with a command of known answer. */
const last = "show cli level";
const lastAnswer = `[6]: admin\n${prompt}`;

/**
 * One connection for many commands, in HAProxy's interactive mode: to open one costs ten times what a command does. For
 * commands without a payload, whose answers are short and have no line that begins like the prompt.
 */
export class Session {
  private socket: Socket | undefined;
  private readonly turns = new Mutex();

  constructor(
    private readonly path: string,
    private readonly timeout = patience,
  ) {}

  /** What HAProxy says to commands with `;` between them, each line of it with its severity in front. */
  ask(commands: string): Promise<string> {
    return this.turns.runExclusive(() => this.exchange(commands));
  }

  /** The next command gets a connection of its own, as to a worker that has taken over. */
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
        end(`gave no answer within ${this.timeout} ms`);
      }, this.timeout);
      socket.on("data", onData).on("close", onClose);
      socket.write(lines.map((line) => `${line}\n`).join(""));
    });
  }

  private open(): Socket {
    const socket = createConnection(this.path).setEncoding("utf8");
    // "close" follows, and says what there is to say.
    socket.on("error", () => undefined);
    socket.on("close", () => {
      if (this.socket === socket) this.socket = undefined;
    });
    return socket;
  }
}
