import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { askRunning } from "./client";

const answers: Readonly<Record<string, string>> = {
  "/explain?url=%2Fa": "/a: goes to the instance of ä.\nchecks\n",
  "/terminal": "\u001b[2J",
  "/bidi": "a\u202eb",
};
const server = createServer((request, response) => {
  const answer = answers[request.url ?? ""];
  response.statusCode = answer === undefined ? 404 : 200;
  response.end(answer ?? "not here");
});
let admin: string;
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  admin = `127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.close();
});

test("returns what a load balancer answers", async () => {
  expect(await askRunning(admin, "/explain?url=%2Fa")).toBe(answers["/explain?url=%2Fa"]);
});

test.each(["/terminal", "/bidi", "/none"])("%s: ignores what no load balancer would answer", async (path) => {
  expect(await askRunning(admin, path)).toBeUndefined();
});

test("returns nothing if nobody answers", async () => {
  expect(await askRunning("127.0.0.1:1", "/explain")).toBeUndefined();
});
