import { expect, it } from "vitest";
import { problemsIn, type ServiceInputs } from "./inputs";

const good = { name: "hello-v1", image: "hello:1" };

it.each(["hello-v1", "a", "A.b_c-1", "x".repeat(63)])("accepts the name %s", (name) => {
  expect(problemsIn({ ...good, name })).toEqual([]);
});

it.each(["hello/v1", "", "-a", "a-", "a--b", "a b", "ä", "x".repeat(64)])("rejects the name %j", (name) => {
  expect(problemsIn({ ...good, name }).map((problem) => problem.property)).toEqual(["name"]);
});

const cases: [string, Partial<ServiceInputs>][] = [
  ["image", { image: "" }],
  ["replicas", { replicas: -1 }],
  ["replicas", { replicas: 1.5 }],
  ["replicas", { replicas: { min: 2, max: 1 } }],
  ["replicas", { replicas: { min: 0, max: 0 } }],
  ["replicas", { replicas: { min: 0.5, max: 1 } }],
  ["replicas", { replicas: { min: 1 } as never }],
  ["serviceLabels", { serviceLabels: { "com.example": "" } }],
  ["serviceLabels", { serviceLabels: { "switchyard.owner": "me" } }],
  ["ports", { ports: [{ target: 80 }, { target: 0 }] }],
  ["ports", { ports: [{ target: 8080, published: 70000 }] }],
  ["env", { env: { "A=B": "" } }],
  ["labels", { labels: { "": "x" } }],
  ["command", { command: ["sleep", 1000 as never] }],
  ["limits", { limits: { memoryBytes: 1024 } }],
];
it.each(cases)("rejects an invalid %s: %j", (property, change) => {
  expect(problemsIn({ ...good, ...change }).map((problem) => problem.property)).toEqual([property]);
});

it("accepts values that are not known yet", () => {
  const unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9" as never;
  const news = {
    name: unknown,
    image: unknown,
    replicas: unknown,
    ports: unknown,
    env: unknown,
    limits: unknown,
  };
  expect(problemsIn(news)).toEqual([]);
});
