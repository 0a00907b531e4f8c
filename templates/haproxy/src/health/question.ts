/**
 * Asks an instance what HAProxy's health check asks. It also finds out what HAProxy does not tell: that an instance speaks TLS
 * though it should not, or why its TLS is not accepted.
 */
import { connect as connectHttp2 } from "node:http2";
import { createConnection, type Socket } from "node:net";
import { connect as connectTls, createSecureContext, type SecureContext, type TLSSocket } from "node:tls";
import { listens } from "../../../../lib/tcp";
import { checkAgent, healthyStatus } from "../../../../routing/options/health-path";
import { checkedHost } from "../../../../routing/options/host";
import { overTls, tlsOf, type Tls } from "../../../../routing/options/proto";
import type { ServiceOptions } from "../../../../routing/types";
import type { Authorities, Authority } from "../config/authorities";

export interface Asked {
  readonly address: string;
  readonly port: number;
  /** The name in DNS that stands for its address, if there is one. */
  readonly hostname?: string | undefined;
  readonly options: ServiceOptions;
}

export interface Answer {
  readonly healthy: boolean;
  /** What is wrong, for people, where HAProxy cannot know. The rest of a sentence that starts with the instance. */
  readonly finding?: string;
  /** It takes connections and does not answer as HTTP does: `findTls` may know more. */
  readonly mayBeTls?: true;
}

const answerTimeoutMs = 2_000;

export async function ask(asked: Asked, authorities: Authorities): Promise<Answer> {
  const { address, port, hostname, options } = asked;
  if (options.kind === "tcp" || options.proto === "h2c") return { healthy: await listens(address, port) };
  const tls = tlsOf(options, hostname);
  if (tls !== undefined) return askOverTls(asked, tls, authorities.get(tls.ca));
  const { connected, begins, status } = await statusOver(createConnection({ host: address, port }), options);
  // Servers that expect TLS send an alert, answer 400 in plain HTTP, or close the connection.
  if (begins === tlsAlert) return { healthy: false, finding: speaksTls };
  const healthy = isHealthy(status, options);
  const suspect = connected && (status === undefined || status === 400);
  if (!suspect) return { healthy };
  if (!healthy) return { healthy, mayBeTls: true };
  const finding = await findTls(asked);
  return finding === undefined ? { healthy } : { healthy: false, finding };
}

const speaksTls = "speaks TLS, not plain HTTP: set SERVICE_PROTO=https";

/** Asks an instance that should speak plain HTTP whether it speaks TLS; returns a finding if it does. */
export async function findTls({ address, port }: Asked): Promise<string | undefined> {
  const shaken = await handshake({ address, port });
  if ("error" in shaken) return /^ERR_SSL_.*ALERT/.test(shaken.error.code ?? "") ? speaksTls : undefined;
  shaken.socket.destroy();
  return speaksTls;
}

function isHealthy(status: number | undefined, { healthPath }: ServiceOptions): boolean {
  if (status === undefined) return false;
  return healthyStatus(healthPath !== undefined)
    .split(",")
    .some((range) => {
      const [from = NaN, to = from] = range.split("-").map(Number);
      return from <= status && status <= to;
    });
}

const method = ({ healthPath }: ServiceOptions): string => (healthPath === undefined ? "HEAD" : "GET");
const hostOf = ({ host }: ServiceOptions): string => (host === undefined ? "localhost" : checkedHost(host));

const statusLength = "HTTP/1.1 200".length;
const statusLine = /^HTTP\/1\.[01] (\d{3})/;
/** The first byte of an alert in TLS. */
const tlsAlert = "\x15";

interface Http1Answer {
  readonly connected: boolean;
  /** Its first character. */
  readonly begins: string | undefined;
  readonly status: number | undefined;
}

function statusOver(socket: Socket, options: ServiceOptions): Promise<Http1Answer> {
  const question = [
    `${method(options)} ${options.healthPath ?? "/"} HTTP/1.1`,
    `Host: ${hostOf(options)}`,
    `User-Agent: ${checkAgent}`,
    "Connection: close",
  ];
  return new Promise((resolve) => {
    let connected = !socket.connecting;
    let answer = "";
    const end = () => {
      socket.destroy();
      const status = statusLine.exec(answer)?.[1];
      resolve({ connected, begins: answer[0], status: status === undefined ? undefined : Number(status) });
    };
    socket.setTimeout(answerTimeoutMs).setEncoding("latin1");
    socket.on("connect", () => (connected = true));
    socket.on("data", (chunk: string) => {
      answer += chunk;
      if (answer.length >= statusLength || answer.startsWith(tlsAlert)) end();
    });
    for (const event of ["error", "timeout", "close"]) socket.on(event, end);
    socket.write(question.map((line) => `${line}\r\n`).join("") + "\r\n");
  });
}

function statusOverHttp2(socket: TLSSocket, options: ServiceOptions): Promise<number | undefined> {
  return new Promise((resolve) => {
    const session = connectHttp2("https://instance", { createConnection: () => socket });
    const end = (status?: number) => {
      session.destroy();
      resolve(status);
    };
    session.setTimeout(answerTimeoutMs, end);
    session.on("error", () => {
      end();
    });
    const request = session.request({
      ":method": method(options),
      ":path": options.healthPath ?? "/",
      ":authority": hostOf(options),
      "user-agent": checkAgent,
    });
    request.on("response", ({ ":status": status }) => {
      end(status);
    });
    for (const event of ["error", "close"])
      request.on(event, () => {
        end();
      });
  });
}

const contexts = new WeakMap<Authority, SecureContext>();

/** Reading the public authorities takes milliseconds. */
function contextOf(authority: Authority): SecureContext {
  const known = contexts.get(authority);
  if (known !== undefined) return known;
  const context = createSecureContext({ ca: authority.pem });
  contexts.set(authority, context);
  return context;
}

async function askOverTls(
  { address, port, options }: Asked,
  { verify, name }: Tls,
  authority: Authority | undefined,
): Promise<Answer> {
  if (verify && (authority === undefined || name === undefined)) return { healthy: false };
  const connected = await handshake({
    address,
    port,
    name,
    ...(verify && authority !== undefined && { context: contextOf(authority) }),
  });
  if ("error" in connected) {
    const finding = whyTlsFails(connected.error, name);
    return { healthy: false, ...(finding !== undefined && { finding }) };
  }
  const { socket } = connected;
  const status =
    socket.alpnProtocol === "h2"
      ? await statusOverHttp2(socket, options)
      : (await statusOver(socket, options)).status;
  return { healthy: isHealthy(status, options) };
}

interface Handshake {
  readonly address: string;
  readonly port: number;
  readonly name?: string | undefined;
  /** Without one, any certificate will do. */
  readonly context?: SecureContext;
}

type Shaken = { readonly socket: TLSSocket } | { readonly error: NodeJS.ErrnoException };

function handshake({ address: host, port, name, context }: Handshake): Promise<Shaken> {
  return new Promise((resolve) => {
    const socket = connectTls({
      host,
      port,
      ALPNProtocols: [...overTls],
      ...(name !== undefined && { servername: name }),
      ...(context === undefined ? { rejectUnauthorized: false } : { secureContext: context }),
    });
    const fail = (error: Error) => {
      socket.destroy();
      resolve({ error });
    };
    socket.setTimeout(answerTimeoutMs, () => {
      fail(new Error("timeout"));
    });
    socket.on("error", fail);
    const closed = () => {
      fail(new Error("closed"));
    };
    socket.on("close", closed);
    socket.on("secureConnect", () => {
      socket.off("close", closed);
      resolve({ socket });
    });
  });
}

const unknownAuthority = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

/** Undefined where it says nothing about TLS, such as a refused connection. */
function whyTlsFails({ code = "" }: NodeJS.ErrnoException, name: string | undefined): string | undefined {
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID")
    return `has a certificate that is not for ${name ?? "its name"}: set SERVICE_TLS_SERVER_NAME to a name in it`;
  if (unknownAuthority.has(code))
    return "has a certificate that no trusted authority has signed: name the file of its authority in SERVICE_TLS_CA, or set SERVICE_TLS_VERIFY=false";
  if (code === "CERT_HAS_EXPIRED") return "has a certificate that has expired: renew it";
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "ERR_SSL_PACKET_LENGTH_TOO_LONG")
    return "does not answer in TLS: remove SERVICE_PROTO=https if it speaks plain HTTP";
  return code.startsWith("ERR_SSL_") || code.startsWith("CERT_") || code.startsWith("UNABLE_")
    ? `does not complete the TLS handshake (${code})`
    : undefined;
}
