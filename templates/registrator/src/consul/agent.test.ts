import { expect, it } from "vitest";
import { serve } from "../../../../lib/testing";
import { Consul } from "./agent";

it("sends the token, and encodes the ID as one path segment", async () => {
  const seen: (string | undefined)[] = [];
  const endpoint = await serve((request, response) => {
    seen.push(request.url, request.headers["x-consul-token"]?.toString());
    response.writeHead(404).end("Unknown service");
  });
  await new Consul(endpoint, "secret").deregister("a/b c?%");
  expect(seen).toEqual(["/v1/agent/service/deregister/a%2Fb%20c%3F%25", "secret"]);
});
