import { expect, it } from "vitest";
import { Coalescer } from "./coalescer";

it("runs each key once at a time, runs it after its last touch, and respects its limit", async () => {
  const seen: string[] = [];
  let active = 0;
  let most = 0;
  const work = new Coalescer(async (key, reason) => {
    most = Math.max(most, ++active);
    seen.push(`${key}${reason}`);
    await new Promise((resolve) => setImmediate(resolve));
    active--;
  }, 2);
  const first = work.touch("a", "1");
  await Promise.resolve();
  const others = ["2", "3"].map((reason) => work.touch("a", reason));
  await Promise.all([first, ...others, work.touch("b", "1"), work.touch("c", "1")]);
  expect(seen.filter((each) => each.startsWith("a"))).toEqual(["a1", "a3"]);
  expect(seen).toContain("c1");
  expect(most).toBe(2);
});
