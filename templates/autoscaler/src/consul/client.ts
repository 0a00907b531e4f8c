/** The part of Consul's HTTP API that the autoscaler needs. */
import { readFile } from "node:fs/promises";
import { messageOf } from "../../../../lib/errors";
import { HttpClient, type Answer as HttpAnswer, type RequestOptions } from "../../../../lib/http";

export interface Credentials {
  /** A file with the token, read for every request, because tokens are replaced while we run. */
  readonly tokenFile?: string;
  readonly token?: string;
}

export interface Answer {
  readonly index: number;
  /** `null` if there is nothing under the path. */
  readonly body: unknown;
}

export interface Blocking {
  /** Answers as soon as Consul has a higher index; 0 for at once. */
  readonly index: number;
  readonly waitSeconds: number;
  readonly signal?: AbortSignal;
}

const timeoutMs = 5_000;

/** A key as it stands in a URL. */
export const keyPath = (key: string): string => key.split("/").map(encodeURIComponent).join("/");

export class Consul {
  constructor(
    private readonly http: HttpClient,
    private readonly credentials: Credentials = {},
  ) {}

  async get(path: string, { index, waitSeconds, signal }: Partial<Blocking> = {}): Promise<Answer> {
    const blocking = index !== undefined && index > 0 && waitSeconds !== undefined;
    const question = path.includes("?") ? "&" : "?";
    const answer = await this.request(
      "GET",
      blocking ? `${path}${question}index=${index}&wait=${waitSeconds}s` : path,
      {
        timeoutMs: timeoutMs + (blocking ? waitSeconds * 1_100 : 0),
        ...(signal !== undefined && { signal }),
      },
    );
    const isMissing = answer.status === 404 && path.startsWith("kv/");
    if (!isMissing) expectOk(path, answer);
    const found = Number(answer.headers["x-consul-index"] ?? 0);
    return { index: found, body: isMissing ? null : (JSON.parse(answer.body) as unknown) };
  }

  /** @returns whether Consul did it: a condition in `query`, such as `cas=7`, may not have been met */
  async putKey(key: string, value: string, query = ""): Promise<boolean> {
    return this.isTrue("PUT", `kv/${keyPath(key)}${query === "" ? "" : `?${query}`}`, value);
  }

  /** Deletes a key, if it is still as it was at that index. */
  async deleteKey(key: string, index: number): Promise<boolean> {
    return this.isTrue("DELETE", `kv/${keyPath(key)}?cas=${index}`);
  }

  async createSession(body: object): Promise<string> {
    const answer = await this.request("PUT", "session/create", { body });
    expectOk("session/create", answer);
    return (JSON.parse(answer.body) as { ID: string }).ID;
  }

  /** @returns whether the session still exists */
  async renewSession(id: string): Promise<boolean> {
    const answer = await this.request("PUT", `session/renew/${id}`);
    if (answer.status === 404) return false;
    expectOk("session/renew", answer);
    return true;
  }

  async destroySession(id: string): Promise<void> {
    expectOk("session/destroy", await this.request("PUT", `session/destroy/${id}`));
  }

  private async isTrue(method: string, path: string, text?: string): Promise<boolean> {
    const answer = await this.request(method, path, text === undefined ? {} : { text });
    expectOk(path, answer);
    return answer.body.trim() === "true";
  }

  private async request(method: string, path: string, options: RequestOptions = {}): Promise<HttpAnswer> {
    const token = await this.token();
    return this.http.request(method, `/v1/${path}`, {
      timeoutMs,
      ...options,
      ...(token !== undefined && { headers: { "x-consul-token": token } }),
    });
  }

  private async token(): Promise<string | undefined> {
    const { tokenFile, token } = this.credentials;
    if (tokenFile === undefined) return token;
    const content = await readFile(tokenFile, "utf8").catch((error: unknown) => {
      throw new Error(`the token cannot be read: ${messageOf(error)}`);
    });
    // Consul shows an empty catalog to whoever has no token.
    if (content.trim() === "") throw new Error(`there is no token in ${tokenFile}`);
    return content.trim();
  }
}

function expectOk(path: string, { status, body }: HttpAnswer): void {
  if (status >= 200 && status <= 299) return;
  const advice = status === 403 ? "; give the autoscaler a token with the rights in its README" : "";
  throw new Error(`Consul answered ${status} to ${path}: ${body.trim().slice(0, 200)}${advice}`);
}
