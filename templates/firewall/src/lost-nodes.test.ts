import { expect, it } from "vitest";
import { answers, LostNodes } from "./lost-nodes";

/** What is told about a node that answers like this, question by question. */
async function told(answered: readonly boolean[]): Promise<string[]> {
  const found: string[] = [];
  let asked = 0;
  await new Promise<void>((resolve) => {
    const changed = (node: string, isLost: boolean) => {
      found.push(`${node} ${isLost ? "lost" : "back"} after ${asked}: ${nodes.addresses.join()}`);
    };
    const ask = () => Promise.resolve(answered[asked++] ?? false);
    const pause = () =>
      asked <= answered.length
        ? Promise.resolve()
        : new Promise<never>(() => {
            resolve();
          });
    const nodes = new LostNodes(["192.0.2.1", "192.0.2.0/24", "127.0.0.1"], changed, ask, pause);
    nodes.follow();
  });
  return found;
}

it("tells once that a node is lost, and once that it is back", async () => {
  const silence = Array.from({ length: 7 }, () => false);
  expect(await told([true, ...silence, true, true, ...silence])).toEqual([
    "192.0.2.1 lost after 6: 192.0.2.1",
    "192.0.2.1 back after 9: ",
    "192.0.2.1 lost after 15: 192.0.2.1",
  ]);
});

it("forgets what was left unanswered with the next answer", async () => {
  const almost = [true, false, false, false, false];
  expect(await told([...almost, ...almost, true])).toEqual([]);
});

it("does not take a node for lost that has never answered", async () => {
  expect(await told(Array.from({ length: 20 }, () => false))).toEqual([]);
});

it.each([7946, 8301])("takes an answer at port %i alone for a sign of life", async (open) => {
  expect(await answers("192.0.2.1", (_, port) => Promise.resolve(port === open))).toBe(true);
  expect(await answers("192.0.2.1", () => Promise.resolve(false))).toBe(false);
});

it("takes a refusal for an answer", async () => {
  expect(await answers("127.0.0.1")).toBe(true);
});
