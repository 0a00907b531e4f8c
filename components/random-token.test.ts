import { expect, test } from "vitest";
import { randomTokenProvider as provider } from "./random-token";

test("a token is kept until its generation changes, and then as the previous one", async () => {
  const { outs } = await provider.create({ generation: 1 });
  if (outs === undefined) throw new Error("there is no token");
  expect(outs).toMatchObject({ generation: 1, previous: "" });
  expect(outs.token).toMatch(/^[0-9a-f-]{36}$/);
  expect(await provider.diff?.("token", outs, { generation: 1 })).toMatchObject({ changes: false });
  expect(await provider.diff?.("token", outs, { generation: 2 })).toMatchObject({ changes: true });
  const next = await provider.update?.("token", outs, { generation: 2 });
  expect(next?.outs).toMatchObject({ generation: 2, previous: outs.token });
  expect(next?.outs?.token).not.toBe(outs.token);
});
