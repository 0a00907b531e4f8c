/** The narrow socket: a list, five changes, and nothing else. */
import { createServer, type IncomingMessage, type Server } from "node:http";
import { messageOf } from "../../../../lib/errors";
import { parseJson } from "../../../../lib/values";
import { escapeInvisible } from "../../../../lib/text";
import { show } from "../../../../routing/grammar";
import type { ChosenLimits } from "../../../../routing/scaling/limits";
import type { Reply } from "./engine";
import { readEnd, readStart } from "./jobs";
import { readLimits, readRelimit } from "./relimit";
import { readRescale } from "./rescale";
import type { EndRun, Relimit, Rescale, StartRun, Swarm } from "./types";

export interface Answering {
  swarm(): Promise<Swarm>;
  rescale(id: string, change: Rescale): Promise<Reply>;
  relimit(id: string, change: Relimit): Promise<Reply>;
  startRun(id: string, change: StartRun): Promise<Reply>;
  endRun(id: string, change: EndRun): Promise<Reply>;
  limitTask(task: string, limits: ChosenLimits): Promise<Reply>;
}

const longestBody = 1_000;
const change = /^\/(services|tasks)\/([a-z0-9]{25})\/(replicas|limits|run|end)$/;

/** Without a place to listen at. */
export function narrowServer(engine: Answering, log: (line: string) => void): Server {
  const server = createServer(
    { maxHeaderSize: 4_096, headersTimeout: 5_000, requestTimeout: 10_000 },
    (request, response) => {
      void answer(request, engine)
        .catch((error: unknown): Reply => ({ status: 502, body: { error: messageOf(error) } }))
        .then(({ status, body }) => {
          if (status >= 400) log(complaint(request, status, body));
          response.writeHead(status, { "content-type": "application/json" });
          response.end(JSON.stringify(body));
        });
    },
  );
  server.maxConnections = 16;
  return server;
}

const complaint = (request: IncomingMessage, status: number, body: unknown): string =>
  escapeInvisible(
    `${request.method ?? ""} ${show(request.url ?? "")}: ${status} ${JSON.stringify(body).slice(0, 300)}`,
  );

const forbidden: Reply = {
  status: 403,
  body: {
    error:
      "only GET /services and POST /services/ID/replicas, /services/ID/limits, /services/ID/run, /services/ID/end and /tasks/ID/limits are allowed here",
  },
};

async function answer(request: IncomingMessage, engine: Answering): Promise<Reply> {
  const { method, url = "" } = request;
  if (method === "GET" && url === "/services") return { status: 200, body: await engine.swarm() };
  const [, of, id, what] = (method === "POST" ? change.exec(url) : null) ?? [];
  if (id === undefined) return forbidden;
  switch (`${of ?? ""} ${what ?? ""}`) {
    case "services replicas":
      return read(await bodyOf(request), readRescale, '"version":NUMBER,"replicas":NUMBER', (asked) =>
        engine.rescale(id, asked),
      );
    case "services limits":
      return read(await bodyOf(request), readRelimit, `"version":NUMBER,${limitsForm}`, (asked) =>
        engine.relimit(id, asked),
      );
    case "services run":
      return read(await bodyOf(request), readStart, '"version":NUMBER,"due":TIME', (asked) =>
        engine.startRun(id, asked),
      );
    case "services end":
      return read(await bodyOf(request), readEnd, '"version":NUMBER', (asked) => engine.endRun(id, asked));
    case "tasks limits":
      return read(
        await bodyOf(request),
        (body) => readLimits(parseJson(body)),
        limitsForm,
        (asked) => engine.limitTask(id, asked),
      );
    default:
      return forbidden;
  }
}

const limitsForm = '"memoryBytes":NUMBER,"cores":NUMBER';

const read = async <T>(
  body: string,
  parse: (body: string) => T | undefined,
  form: string,
  act: (asked: T) => Promise<Reply>,
): Promise<Reply> => {
  const asked = parse(body);
  return asked === undefined ? { status: 400, body: { error: `the body is not {${form}}` } } : act(asked);
};

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = "";
  for await (const chunk of request as AsyncIterable<Buffer>) {
    body += chunk.toString();
    if (body.length > longestBody) return "";
  }
  return body;
}
