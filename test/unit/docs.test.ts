import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { configKeys } from "../../components/config/index";
import { options } from "../../routing/options/index";
import { optionKeys } from "../../routing/service-options";
import { indexFile, optionIndex, optionReference, referenceFile } from "../../script/generated";
import { configReference } from "../../script/reference";

const reference = readFileSync("docs/routing.md", "utf8");

/** The text between two markers. */
function section(name: string): string {
  const [, content = ""] = reference.split(`<!-- ${name}:begin -->`);
  return content.split(`<!-- ${name}:end -->`)[0]?.trim() ?? "";
}

/** The rows of a table, without the padding. */
function rows(table: string): string[] {
  return table
    .split("\n")
    .slice(2)
    .map((row) => row.replace(/ +/g, " "));
}

test.each(["Pulumi.yaml", "docs/configuration.md", "docs/services.md", "docs/targets.md"])(
  "%s matches the schema; if not, run script/generate",
  async (file) => {
    expect(readFileSync(file, "utf8")).toBe((await configReference())[file]);
  },
);

test("base images are pinned to the same versions wherever they are named", () => {
  const { baseImage, consulImage } = configKeys;
  const images = [baseImage.parse(undefined), consulImage.parse(undefined)];
  expect(images[0]).toMatch(/^debian:[0-9.]+-slim@sha256:[0-9a-f]{64}$/);
  const dockerfiles = readdirSync("templates").map((template) => `templates/${template}/Dockerfile`);
  const files = [...dockerfiles.filter(existsSync), "script/bootstrap", "examples/one-node/Pulumi.yaml"];
  const others = files.flatMap((file) =>
    (readFileSync(file, "utf8").match(/(?:debian|hashicorp\/consul):[0-9]\S+/g) ?? ["no image"])
      .filter((image) => !images.includes(image))
      .map((image) => `${file}: ${image}`),
  );
  expect(others).toEqual([]);
});

test("the reference lists every routing option", () => {
  const explained = rows(section("options")).map((row) => /`(\w+)`/.exec(row)?.[1]);
  expect(explained.sort()).toEqual([...optionKeys].sort());
});

test("the generated files match the routing options; if not, run script/generate", async () => {
  expect(readFileSync(indexFile, "utf8")).toBe(await optionIndex());
  expect(readFileSync(referenceFile, "utf8")).toBe(await optionReference(options));
});

/** Every page: the README, docs/, CONTRIBUTING.md, CHANGELOG.md and the packages' own READMEs. */
const pages = [".", "docs", "bench", ...readdirSync("templates").map((name) => `templates/${name}`)].flatMap(
  (folder) =>
    readdirSync(folder)
      .filter((file) => file.endsWith(".md"))
      .map((file) => path.join(folder, file)),
);

/** The anchors that GitHub derives from the headings of a page. */
function anchors(page: string): string[] {
  const headings = readFileSync(page, "utf8").matchAll(/^#{1,6} (.+)$/gm);
  return [...headings].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\p{M} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

test.each(pages)("every relative link in %s resolves", (page) => {
  const links = readFileSync(page, "utf8").matchAll(/(?:\]\(|(?:src|href)=")([^)\s"]+)/g);
  for (const [, link = ""] of links) {
    if (/^https?:/.test(link)) continue;
    const [file = "", anchor] = link.split("#");
    const target = file === "" ? page : path.join(path.dirname(page), file);
    expect(existsSync(target), `${page} links to ${link}`).toBe(true);
    if (anchor !== undefined) expect(anchors(target), `${page} links to ${link}`).toContain(anchor);
  }
});

test.each(pages)("every script and source file named in %s exists", (page) => {
  const text = readFileSync(page, "utf8");
  const scripts = text.matchAll(/(?<![\w./-])script\/[a-z]+/g);
  const sources = text.matchAll(
    /(?<![\w./-])(?:components|engine|lib|preview|providers|routing|templates|test)\/[\w./-]+\.(?:ts|md|json|yaml)\b/g,
  );
  for (const [name] of [...scripts, ...sources]) expect(existsSync(name), `${page} names ${name}`).toBe(true);
});

test("no page shows a secret on a command line", () => {
  for (const page of pages)
    for (const [line] of readFileSync(page, "utf8").matchAll(/config set --secret.*/g))
      expect(line, page).not.toMatch(/--secret `?[\w.:]+ (?:[A-Z…'"]|<\S+>)/);
});
