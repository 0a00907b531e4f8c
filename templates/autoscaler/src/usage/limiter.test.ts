import { beforeEach, expect, test } from "vitest";
import { scalingKeys } from "../../../../routing/scaling/keys";
import { encodeLimits } from "../../../../routing/scaling/limits";
import { Limiter } from "./limiter";

const service = "abcdefghij0123456789abcde";
const container = (task: string, of = service) => ({ id: task, task, service: of, created: 0, runs: true });

let value: string | undefined;
let refusal: string | undefined;
let asked: unknown[];
let lines: string[];
let limiter: Limiter;
beforeEach(() => {
  value = encodeLimits(new Map([[service, { memoryBytes: 5 }]]));
  refusal = undefined;
  [asked, lines] = [[], []];
  const entry = () => ({ Key: scalingKeys.limits, Value: Buffer.from(value ?? "").toString("base64"), ModifyIndex: 1 });
  limiter = new Limiter({
    consul: { get: () => Promise.resolve({ index: 1, body: value === undefined ? null : [entry()] }) },
    socket: {
      limitTask: (task, limits) => {
        asked.push([task, limits]);
        return refusal === undefined ? Promise.resolve() : Promise.reject(new Error(refusal));
      },
    },
    log: (line) => lines.push(line),
  });
}); // prettier-ignore

test("each task of a service with chosen limits gets them once, and again when they change", async () => {
  const running = [container("a"), container("b", "other")];
  await limiter.apply(running);
  await limiter.apply(running);
  expect(asked).toEqual([["a", { memoryBytes: 5 }]]);
  value = encodeLimits(new Map([[service, { memoryBytes: 6 }]]));
  await limiter.apply([...running, container("c")]);
  expect(asked.slice(1)).toEqual([
    ["a", { memoryBytes: 6 }],
    ["c", { memoryBytes: 6 }],
  ]);
});

test("what is refused is told of once, and tried again", async () => {
  refusal = "it uses too much";
  for (let time = 0; time < 3; time++) await limiter.apply([container("a")]);
  expect([asked.length, lines]).toEqual([3, ["the limits of task a are not changed: it uses too much"]]);
});

test("without a value nothing happens, and a spoilt one is named", async () => {
  value = undefined;
  await limiter.apply([container("a")]);
  value = "nonsense";
  await expect(limiter.apply([container("a")])).rejects.toThrow(`${scalingKeys.limits} starts with`);
  expect(asked).toEqual([]);
});
