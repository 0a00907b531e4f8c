import { expect, it } from "vitest";
import { HttpClient, RefusedError, TooLarge } from "./http";
import { serve } from "./testing";

it("retries a request whose keep-alive connection was closed", async () => {
  let requests = 0;
  const endpoint = await serve((request, response) => {
    // The second request arrives on the first one's connection, which the server then closes.
    if (++requests === 2) request.socket.destroy();
    else response.end("ok");
  });
  const client = new HttpClient(endpoint);
  await client.ok("GET", "/");
  expect((await client.ok("PUT", "/", { body: {} })).body).toBe("ok");
  expect(requests).toBe(3);
});

it("does not retry with retryStale: false", async () => {
  let requests = 0;
  const endpoint = await serve((request, response) => {
    if (++requests === 2) request.socket.destroy();
    else response.end("ok");
  });
  const client = new HttpClient(endpoint, { retryStale: false });
  await client.ok("GET", "/");
  await expect(client.ok("GET", "/")).rejects.toThrow("socket hang up");
  expect(requests).toBe(2);
});

it("distinguishes an error status from a missing server", async () => {
  const endpoint = await serve((_, response) => response.writeHead(400).end("no\n"));
  await expect(new HttpClient(endpoint).ok("GET", "/")).rejects.toThrow(new RefusedError(400, "no"));
  const nobody = new HttpClient({ host: "127.0.0.1", port: 1 });
  await expect(nobody.ok("GET", "/")).rejects.not.toBeInstanceOf(RefusedError);
});

it("sends a text as it is", async () => {
  const endpoint = await serve((request, response) => {
    void request.pipe(response);
  });
  expect((await new HttpClient(endpoint).ok("PUT", "/", { text: "ä 1" })).body).toBe("ä 1");
});

it("sends JSON with its type and length", async () => {
  const endpoint = await serve((request, response) => {
    const { "content-type": type, "content-length": length } = request.headers;
    request.resume().on("end", () => response.end(`${type ?? ""} ${length ?? ""}`));
  });
  const client = new HttpClient(endpoint);
  expect((await client.ok("PUT", "/", { body: { a: "ä" } })).body).toBe("application/json 10");
  expect((await client.ok("PUT", "/")).body).toBe(" 0");
});

it("limits the time of an exchange, but not the wait for a connection", async () => {
  const endpoint = await serve((request, response) => {
    if (request.url === "/stalls") response.write("half of the ans");
    else setTimeout(() => response.end("ok"), 60);
  });
  const client = new HttpClient(endpoint, { maxSockets: 1 });
  await expect(client.request("GET", "/stalls", { timeoutMs: 50 })).rejects.toThrow("no complete answer");
  const three = [1, 2, 3].map(() => client.ok("GET", "/", { timeoutMs: 150 }));
  expect((await Promise.all(three)).map(({ body }) => body)).toEqual(["ok", "ok", "ok"]);
});

it("stops reading an answer of more than 64 MiB", async () => {
  const endpoint = await serve((_, response) => {
    const chunk = Buffer.alloc(1024 * 1024, " ");
    const write = () => {
      while (!response.destroyed && response.write(chunk));
      response.once("drain", write);
    };
    write();
  });
  await expect(new HttpClient(endpoint).request("GET", "/")).rejects.toThrow(TooLarge);
});

it("ends an exchange when its signal aborts", async () => {
  const abort = new AbortController();
  const endpoint = await serve((_, response) => {
    response.write("half");
    abort.abort();
  });
  const answer = new HttpClient(endpoint).request("GET", "/", { signal: abort.signal });
  await expect(answer).rejects.toThrow("aborted");
});
