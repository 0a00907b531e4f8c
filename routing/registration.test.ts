import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decisive, declarationsOf, isOn, metadataOf, tagsOf } from "./registration";

describe("tags", () => {
  it.each([
    // Registrator's own table.
    ["", []],
    ["foobar", ["foobar"]],
    ["foo,bar", ["foo", "bar"]],
    ["foo\\,bar", ["foo,bar"]],
    ["foo,bar\\,baz", ["foo", "bar,baz"]],
    ["\\,foobar\\,", [",foobar,"]],
    [",,,,foo,,,bar,,,", ["foo", "bar"]],
    [",,,,", []],
    [",,\\,,", [","]],
    // Its documentation.
    ["master,backups", ["master", "backups"]],
    ["/(;\\,:-_)/", ["/(;,:-_)/"]],
    ["a,b,a", ["a", "b"]],
    // As people write them, and as an --env-file passes them on.
    ["web, rest", ["web", "rest"]],
    [" rest ", ["rest"]],
    ["rest\r", ["rest"]],
    ['"rest"', ["rest"]],
    ["'web, rest'", ["web", "rest"]],
    ['"web","rest"', ["web", "rest"]],
    ['" web ", rest', ["web", "rest"]],
    ['say "x"', ['say "x"']],
    ['"', ['"']],
    ["REST", ["REST"]],
  ])("splits %j into %j", (list, expected) => {
    expect(tagsOf(list)).toEqual(expected);
  });

  it("reverses the escaping of commas", () => {
    const tag = fc.string({ minLength: 1 }).filter((text) => !/["'\\]/.test(text) && text.trim() === text);
    fc.assert(
      fc.property(fc.uniqueArray(tag), (tags) => {
        expect(tagsOf(tags.map((each) => each.replaceAll(",", "\\,")).join(","))).toEqual(tags);
      }),
    );
  });
});

describe("metadata", () => {
  const of = (env: string[], labels: Record<string, string> = {}, port = "80") => {
    const { values, fromPort } = metadataOf(declarationsOf(env, labels), port);
    return { values: Object.fromEntries(values), fromPort: [...fromPort] };
  };

  it.each<[string, string[], Record<string, string>, Record<string, string>]>([
    ["keys are lower-cased", ["SERVICE_NAME=db", "SERVICE_REGION=us2"], {}, { name: "db", region: "us2" }],
    ["other variables are ignored", ["PATH=/bin", "MYSERVICE_NAME=x", "service_name=y"], { name: "z" }, {}],
    ["a label overrides the environment", ["SERVICE_NAME=a"], { SERVICE_NAME: "b" }, { name: "b" }],
    [
      "a key with the port overrides one without",
      ["SERVICE_80_NAME=a", "SERVICE_NAME=b"],
      { SERVICE_NAME: "c" },
      { name: "a" },
    ],
    [
      "a port's label overrides its environment",
      ["SERVICE_80_NAME=a"],
      { SERVICE_80_NAME: "b" },
      { name: "b" },
    ],
    ["keys of other ports are ignored", ["SERVICE_443_NAME=a", "SERVICE_NAME=b"], {}, { name: "b" }],
    ["a value may contain =", ["SERVICE_X=a=b"], {}, { x: "a=b" }],
    ["a number alone is a key", ["SERVICE_80=x"], {}, { "80": "x" }],
    ["a key may contain underscores", ["SERVICE_80_CHECK_HTTP=/h"], {}, { check_http: "/h" }],
    ["a variable without = is ignored", ["SERVICE_NAME"], {}, {}],
  ])("%s", (_, env, labels, expected) => {
    expect(of(env, labels).values).toEqual(expected);
  });

  it.each<[string, Record<string, string>, Record<string, string>]>([
    ["nothing else", {}, { name: "a", tags: "rest" }],
    ["a label that the image has as well", { SERVICE_NAME: "b" }, { name: "a", tags: "rest" }],
    ["labels that the image lists", { "switchyard.labels": "SERVICE_X" }, { name: "a", tags: "rest" }],
  ])("of labels that decide alone, and %s", (_, ofImage, expected) => {
    const image = { SERVICE_X: "1", SERVICE_80_NAME: "c", SERVICE_80_name: "d", ...ofImage };
    const labels = decisive({ SERVICE_NAME: "a", SERVICE_TAGS: "rest" });
    expect(of(["SERVICE_80_NAME=e", "SERVICE_Y=2"], { ...image, ...labels }).values).toEqual(expected);
  });

  it("an image that says which labels count gets no others", () => {
    const image = { SERVICE_NAME: "a", "switchyard.labels": "SERVICE_NAME,SERVICE_IGNORE,PATH" };
    expect(of(["SERVICE_IGNORE=false", "PATH=/bin"], image).values).toEqual({ name: "a" });
  });

  it("reports which keys were set for the port", () => {
    expect(of(["SERVICE_80_NAME=a", "SERVICE_TAGS=b"]).fromPort).toEqual(["name"]);
  });

  it("does not depend on the order of labels", () => {
    const a = of([], { SERVICE_x: "1", SERVICE_X: "2" });
    expect(of([], { SERVICE_X: "2", SERVICE_x: "1" })).toEqual(a);
  });
});

it.each([
  [undefined, false],
  ["", false],
  ["false", false],
  ["False", false],
  ["0", false],
  ["no", false],
  ['"false"', false],
  ["true", true],
  ["1", true],
  ["anything", true],
])("the value %j means %j", (value, expected) => {
  expect(isOn(value)).toBe(expected);
});
