import { createServer, type Server } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import tar from "tar-fs";
import { secretFilesProvider as provider } from "./secret-files";

let server: Server;
let folder: string;
let calls: { what: string; body: Buffer }[];
/** Answers other than { Id: "c1" }: a status code, or a body. Each counts once. */
let answers: Map<string, unknown>;
beforeEach(async () => {
  answers = new Map([[inspect, 404]]);
  folder = mkdtempSync(join(tmpdir(), "engine-"));
  calls = [];
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const what = `${request.method ?? ""} ${request.url ?? ""}`;
      calls.push({ what, body: Buffer.concat(chunks) });
      const answer = answers.get(what) ?? { Id: "c1" };
      answers.delete(what);
      if (typeof answer === "number") response.statusCode = answer;
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => server.listen(join(folder, "docker.sock"), resolve));
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

const inputs = (files: Record<string, string>) => ({
  host: `unix://${folder}/docker.sock`,
  volume: "rest-secrets",
  image: "switchyard/haproxy:1",
  files,
  owner: "shop/dev",
  user: 10001,
});
const inspect = "GET /containers/rest-secrets-writer/json";
const create = "POST /containers/create?name=rest-secrets-writer";
const removal = ["POST /containers/c1/stop?t=15", "DELETE /containers/c1?force=true&v=true"];

interface Header {
  readonly name: string;
  readonly mode: number;
  readonly uid: number;
  readonly size: number;
}

/** The headers of the files in the archive that the engine got. */
async function archive(): Promise<Header[]> {
  const found: Header[] = [];
  const body = calls.find(({ what }) => what.startsWith("PUT"))?.body ?? Buffer.alloc(0);
  const target = mkdtempSync(join(folder, "target-"));
  await new Promise((resolve, reject) => {
    Readable.from([body])
      .pipe(
        tar.extract(target, {
          map: (header) => {
            if (header.type === "file") {
              const { name, mode, uid, size } = header;
              found.push({ name, mode, uid, size });
            }
            return header;
          },
        }),
      )
      .on("finish", () => {
        resolve(undefined);
      })
      .on("error", reject);
  });
  return found;
}

test("files are in the archive only, and only their owner can read them", async () => {
  await provider.create(inputs({ token: "a-secret", "more/key": "another" }));
  expect(calls.map(({ what }) => what)).toEqual([
    inspect,
    create,
    expect.stringContaining("PUT /containers/c1/archive?path=%2Fsecrets"),
    ...removal,
  ]);
  expect(calls[1]?.body.toString()).not.toContain("a-secret");
  expect(await archive()).toEqual([
    { name: "token", mode: 0o600, uid: 10001, size: 8 },
    { name: "more/key", mode: 0o600, uid: 10001, size: 7 },
  ]);
});

test("an image that is missing is pulled", async () => {
  answers.set(create, 404);
  await provider.create(inputs({ token: "a-secret" }));
  expect(calls.map(({ what }) => what).slice(1, 4)).toEqual([
    create,
    "POST /images/create?fromImage=switchyard%2Fhaproxy%3A1",
    create,
  ]);
});

test("the container that a killed run left is removed, but nobody else's", async () => {
  const found = (owner: string) => ({ Id: "c0", Config: { Labels: { "switchyard.owner": owner } } });
  const removals = () => calls.filter(({ what }) => what.startsWith("DELETE /containers/c0")).length;
  answers.set(inspect, found("shop/dev"));
  await provider.create(inputs({}));
  expect(removals()).toBe(1);
  answers.set(inspect, found("bank/dev"));
  await provider.create(inputs({}));
  expect(removals()).toBe(1);
});

test("a file that is no longer listed becomes empty", async () => {
  await provider.update?.("rest-secrets", inputs({ old: "a-secret" }), inputs({ token: "another" }));
  expect(await archive()).toMatchObject([
    { name: "old", size: 0 },
    { name: "token", size: 7 },
  ]);
});

test("another image is no reason to write the files again", async () => {
  const olds = inputs({ token: "a-secret" });
  const unchanged = await provider.diff?.("rest-secrets", olds, { ...olds, image: "switchyard/haproxy:2" });
  expect(unchanged).toMatchObject({ changes: false });
  const changed = await provider.diff?.("rest-secrets", olds, inputs({ token: "another" }));
  expect(changed).toMatchObject({ changes: true, replaces: [] });
});
