/** A session with BuildKit: during a build, the engine asks this process for secrets and logins, which are in no request. */
import { randomUUID } from "node:crypto";
import type { Duplex } from "node:stream";
import * as grpc from "@grpc/grpc-js";
import { fromJSON, type ServiceDefinition } from "@grpc/proto-loader";
import type Docker from "dockerode";
import { messageOf } from "../../lib/errors";
import type { Login } from "../../lib/credentials";

export interface Offers {
  /** The secrets of the build, by ID. */
  readonly secrets: Readonly<Record<string, string>>;
  /** The login for a registry; undefined if there is none. */
  readonly loginFor: (registry: string) => Promise<Login | undefined>;
}

export interface Session {
  readonly id: string;
  close(): void;
}

/** A gRPC service with one method, of requests and answers whose fields are numbered in this order. */
function service(name: string, method: string, request: Fields, answer: Fields): ServiceDefinition {
  const fieldsOf = (fields: Fields) => ({
    fields: Object.fromEntries(Object.entries(fields).map(([key, type], index) => [key, { type, id: index + 1 }])), // prettier-ignore
  });
  const [own = "", ...packages] = name.split(".").reverse();
  const inner: Nested = {
    [own]: { methods: { [method]: { requestType: "Request", responseType: "Answer" } } },
    Request: fieldsOf(request),
    Answer: fieldsOf(answer),
  };
  const nested = packages.reduce<Nested>((below, each) => ({ [each]: { nested: below } }), inner);
  return fromJSON({ nested }, { keepCase: true })[name] as ServiceDefinition;
}
type Nested = Readonly<Record<string, object>>;
type Fields = Readonly<Record<string, string>>;

/** From moby/buildkit, session/auth and session/secrets. */
const auth = service("moby.filesync.v1.Auth", "Credentials", { Host: "string" }, { Username: "string", Secret: "string" }); // prettier-ignore
const secretStore = service("moby.buildkit.secrets.v1.Secrets", "GetSecret", { ID: "string" }, { data: "bytes" }); // prettier-ignore
/** BuildKit ends a build whose client does not answer this. */
const health = service("grpc.health.v1.Health", "Check", { service: "string" }, { status: "int32" });
const SERVING = 1;

type Answer = (error: { code: grpc.status; details: string } | null, value?: object) => void;
const answer =
  <Request>(find: (request: Request) => Promise<object>) =>
  ({ request }: { request: Request }, done: Answer): void => {
    find(request).then(
      (value) => {
        done(null, value);
      },
      (error: unknown) => {
        const code = error instanceof NotFound ? grpc.status.NOT_FOUND : grpc.status.INTERNAL;
        done({ code, details: messageOf(error) });
      },
    );
  };
class NotFound extends Error {}

/** BuildKit asks for the host that it contacts. */
const hubHosts = ["registry-1.docker.io", "docker.io", "index.docker.io"];
const DOCKER_HUB = "https://index.docker.io/v1/";

/** Opens a session. Close it when the build has ended. */
export async function openSession(docker: Docker, { secrets, loginFor }: Offers): Promise<Session> {
  const server = new grpc.Server();
  server.addService(health, { Check: answer(() => Promise.resolve({ status: SERVING })) });
  server.addService(auth, {
    Credentials: answer(async ({ Host }: { Host: string }) => {
      const login = await loginFor(hubHosts.includes(Host) ? DOCKER_HUB : Host);
      // With a token instead of a password, BuildKit expects no user.
      if (login?.identitytoken !== undefined) return { Username: "", Secret: login.identitytoken };
      return { Username: login?.username ?? "", Secret: login?.password ?? "" };
    }),
  });
  server.addService(secretStore, {
    GetSecret: answer(({ ID }: { ID: string }) =>
      Object.hasOwn(secrets, ID)
        ? Promise.resolve({ data: Buffer.from(secrets[ID] ?? "") })
        : Promise.reject(new NotFound(`the build has no secret ${ID}`)),
    ),
  });
  const id = randomUUID();
  const socket = await dial(docker, id);
  server.createConnectionInjector(grpc.ServerCredentials.createInsecure()).injectConnection(socket);
  return {
    id,
    close() {
      server.forceShutdown();
      socket.destroy();
    },
  };
}

function dial(docker: Docker, id: string): Promise<Duplex> {
  const modem = docker.modem as {
    dial(options: object, done: (error: unknown, socket: Duplex) => void): void;
  };
  const headers = {
    Upgrade: "h2c",
    "X-Docker-Expose-Session-Uuid": id,
    "X-Docker-Expose-Session-Name": "switchyard",
    "X-Docker-Expose-Session-Grpc-Method": [
      "/moby.filesync.v1.Auth/Credentials",
      "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    ],
  };
  const statusCodes = { 200: true, 101: true };
  return new Promise((resolve, reject) => {
    modem.dial({ method: "POST", path: "/session", hijack: true, headers, statusCodes }, (error, socket) => {
      if (error === null || error === undefined) resolve(socket);
      else reject(error instanceof Error ? error : new Error(messageOf(error)));
    });
  });
}
