/** The narrow socket: it runs the programs that it was started with, each in its own service, and nothing else. */
import * as http from "node:http";
import { messageOf, UserError } from "../../../lib/errors";
import { encodeForeign } from "../../../lib/text";
import type { Engine } from "./exec";

export const socketPath = "/run/backup-docker/docker.sock";
/** The header that follows the output. */
const trailer = "X-Failure";
const longestFailure = 3_000;
/** Of the answer's headers and trailer, in which a character may take nine bytes. */
const maxHeaderSize = 10 * longestFailure;

export type Programs = Readonly<Record<string, readonly string[]>>;

type Instances = Pick<Engine, "instanceOf" | "exec">;

/** Answers `POST /dump/SERVICE` with the output of the service's program, and afterwards with why it failed, if it did. */
export function keeper(engine: Instances, programs: Programs, log: (line: string) => void): http.Server {
  const server = http.createServer({ maxHeaderSize: 4_096, headersTimeout: 5_000 }, (request, response) => {
    const service = /^\/dump\/([A-Za-z0-9_-]{1,63})$/.exec(request.url ?? "")?.[1];
    const program = service !== undefined && Object.hasOwn(programs, service) ? programs[service] : undefined;
    if (request.method !== "POST" || service === undefined || program === undefined) {
      log(`refused ${request.method ?? ""} ${JSON.stringify(request.url)}`);
      response.writeHead(403).end("only POST /dump/SERVICE of a service with a dump is allowed here");
      return;
    }
    response.writeHead(200, { trailer });
    response.flushHeaders();
    dump(engine, service, program, response)
      .catch((error: unknown) => messageOf(error))
      .then((failure) => {
        log(`dump of ${service}: ${failure ?? "done"}`);
        response.addTrailers({ [trailer]: encodeForeign((failure ?? "").slice(0, longestFailure)) });
        response.end();
      })
      // Whatever goes wrong with one dump, the others go on.
      .catch((error: unknown) => {
        log(`dump of ${service}: its end could not be told: ${messageOf(error)}`);
        response.destroy();
      });
  });
  server.maxConnections = 16;
  return server;
}

/** Why it failed; undefined if it did not. */
async function dump(
  engine: Instances,
  service: string,
  program: readonly string[],
  output: http.ServerResponse,
): Promise<string | undefined> {
  const container = await engine.instanceOf(service);
  if (container === undefined) return `${service} does not run on this node, or more than once`;
  const { code, errors } = await engine.exec(container, program, { output });
  return code === 0 ? undefined : `${program[0] ?? ""}: exit code ${code}${errors && `: ${errors}`}`;
}

/**
 * Writes the dump of a service to `output`.
 *
 * @throws UserError if the dump fails. What has been written until then is not all of it
 */
export function requestDump(
  service: string,
  output: NodeJS.WritableStream,
  path = socketPath,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = http.request({
      socketPath: path,
      method: "POST",
      path: `/dump/${service}`,
      maxHeaderSize,
    });
    request.on("error", reject);
    request.on("response", (response) => {
      response.on("error", reject);
      response.on("end", () => {
        const failure = response.trailers[trailer.toLowerCase()];
        if (response.statusCode === 200 && response.complete && failure === "") resolve();
        else
          reject(new UserError(`the dump failed: ${decodeURIComponent(failure ?? "the connection broke")}`));
      });
      response.pipe(output, { end: false });
    });
    request.end();
  });
}
