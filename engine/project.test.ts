import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import {
  crypterOf,
  getConfig,
  loadProject,
  loadStackFile,
  mergeConfig,
  setConfig,
  stackValues,
  type Config,
} from "./project";
import { type Crypter, newCrypter } from "./secrets";

const PROJECT = `name: house
runtime: nodejs
config:
  target: { type: string, default: local }
  ports: { type: array, items: { type: integer }, default: [80, 443] }
  rooms: { type: integer }
  lit: { type: boolean, default: true }
  owner: { type: object, default: { name: ann, age: 3 } }
  key: { type: string, secret: true, default: none }
  docker:host: unix:///x.sock
`;

function folder(stack: string): string {
  const dir = mkdtempSync(path.join(tmpdir(), "project-"));
  writeFileSync(path.join(dir, "Pulumi.yaml"), PROJECT);
  writeFileSync(path.join(dir, "Pulumi.dev.yaml"), stack);
  return dir;
}

function merged(stack: string, crypter?: Crypter): Config {
  const project = loadProject(folder(stack));
  return mergeConfig(project, "dev", stackValues(loadStackFile(project, "dev")), crypter);
}

describe("configuration", () => {
  it("lets the stack's values override the project's defaults, with structures as JSON", () => {
    const { values, secretKeys } = merged(
      `config:\n  house:rooms: 4\n  house:ports: [8080]\n  house:config:lit: false\n`,
    );
    expect(values).toEqual({
      "house:target": "local",
      "house:ports": "[8080]",
      "house:rooms": "4",
      "house:lit": "false",
      "house:owner": '{"age":3,"name":"ann"}',
      "house:key": "none",
      "docker:host": "unix:///x.sock",
    });
    expect(secretKeys).toEqual([]);
  });

  it.each([
    ["config: {}", "Stack 'dev' is missing configuration value 'rooms': config set rooms VALUE"],
    ["config: { house:rooms: many }", "Stack 'dev' with configuration key 'rooms' must be of type 'integer'"],
    ["config: { house:rooms: 1.5 }", "must be of type 'integer'"],
    ["config: { house:rooms: 1, house:ports: [a] }", "'ports' must be of type 'array<integer>'"],
    ["config: { house:rooms: 1, house:lit: maybe }", "'lit' must be of type 'boolean'"],
    ["config: { house:rooms: 1, house:owner: ann }", "'owner' must be of type 'object'"],
    [
      "config: { house:rooms: 1, house:roomz: 1 }",
      "has the configuration key 'roomz', which the project does not define: correct or remove it",
    ],
    [
      "config: { house:rooms: 1, house:key: plain }",
      "'key' must be encrypted as it's secret: config set --secret key",
    ],
    ["config: { house:rooms: 1, house:key: { secure: v1:a:b } }", "has no `encryptionsalt`"],
  ])("rejects %s", (stack, sentence) => {
    expect(() => merged(stack)).toThrow(sentence);
  });

  it("ignores other namespaces and accepts numbers written as text", () => {
    expect(merged(`config: { house:rooms: "4", other:thing: 1 }`).values).toMatchObject({
      "house:rooms": "4",
      "other:thing": "1",
    });
  });

  it("explains what is wrong with a file", () => {
    expect(() => merged("config: [")).toThrow("Pulumi.dev.yaml");
    expect(() => loadProject(tmpdir())).toThrow("There is no Pulumi.yaml");
  });
});

describe("secrets in configuration", () => {
  let crypter: Crypter;
  beforeAll(async () => {
    process.env.PULUMI_CONFIG_PASSPHRASE = "sesame";
    crypter = await newCrypter("sesame");
  });

  it("decrypts them at any depth and marks the whole key as secret", () => {
    const secure = crypter.encrypt("deep");
    const stack = `config:\n  house:rooms: 1\n  house:owner:\n    list:\n      - name: { secure: "${secure}" }\n`;
    const { values, secretKeys } = merged(stack, crypter);
    expect(JSON.parse(values["house:owner"] ?? "")).toEqual({ list: [{ name: "deep" }] });
    expect(secretKeys).toEqual(["house:owner"]);
  });

  it("sets values without disturbing comments, and reads them again", async () => {
    const dir = folder(`# the house\nconfig:\n  house:rooms: 4 # and a cellar\n`);
    const project = loadProject(dir);
    await setConfig(project, loadStackFile(project, "dev"), "rooms", "5");
    await setConfig(project, loadStackFile(project, "dev"), "key", "under the mat", { secret: true });
    const text = readFileSync(path.join(dir, "Pulumi.dev.yaml"), "utf8");
    expect(text).toContain("# the house\n");
    expect(text).toContain(`house:rooms: "5"`);
    expect(text).toMatch(/encryptionsalt: v1:/);
    expect(text).not.toContain("under the mat");
    const stackFile = loadStackFile(project, "dev");
    expect(await getConfig(project, stackFile, "key")).toBe("under the mat");
    expect(await getConfig(project, stackFile, "target")).toBe("local");
    expect(await getConfig(project, stackFile, "nothing")).toBeUndefined();
  });

  it("sets values at a path, also secret ones", async () => {
    const dir = folder(
      `config:\n  house:rooms: 1\n  house:owner:\n    list:\n      - name: ann # first\n        env:\n`,
    );
    const project = loadProject(dir);
    const set = (key: string, value: string, secret = false) =>
      setConfig(project, loadStackFile(project, "dev"), key, value, { path: true, secret });
    await set("owner.list[0].env.TOKEN", "deep", true);
    await set("house:owner.list[1].name", "bob");
    await set('owner["a.b"]', "3");
    const text = readFileSync(path.join(dir, "Pulumi.dev.yaml"), "utf8");
    expect(text).toContain("name: ann # first");
    expect(text).not.toContain("deep");
    const { values, secretKeys } = merged(text, await crypterOf(loadStackFile(project, "dev")));
    expect(JSON.parse(values["house:owner"] ?? "")).toEqual({
      "a.b": 3,
      list: [{ name: "ann", env: { TOKEN: "deep" } }, { name: "bob" }],
    });
    expect(secretKeys).toEqual(["house:owner"]);
    await expect(set("owner.list[5].name", "eve")).rejects.toThrow("the list has only 2 entries");
    await expect(set("owner.list.name", "eve")).rejects.toThrow("another kind of value");
    await expect(set("owner.[", "eve")).rejects.toThrow("is not a path");
  });
});
