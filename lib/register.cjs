// Lets Node.js load TypeScript: `node -r ./lib/register.cjs FILE.ts`. Compiles all of Switchyard at once, in a fifth of the time
// that ts-node needs, and does not check types. Keeps the result, because each engine starts several processes.
"use strict";

require("./lazy.cjs");
const { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } = require("node:fs");
const path = require("node:path");

const root = path.join(__dirname, "..");
const cache = path.join(root, "node_modules/.cache/switchyard.json");
const folders = ["components", "engine", "lib", "preview", "providers", "routing", "templates/haproxy/src"];
const isSource = (file) => file.endsWith(".ts") && !/\.(test|d)\.ts$|\/fixtures\//.test(file);

/** The compiled text by file. */
const compiled = new Map();

function compile(files) {
  const { buildSync } = require("esbuild");
  const { outputFiles } = buildSync({
    entryPoints: files,
    outbase: root,
    outdir: root,
    format: "cjs",
    platform: "node",
    target: "node20",
    sourcemap: "inline",
    write: false,
  });
  for (const { path: file, text } of outputFiles) compiled.set(file.replace(/js$/, "ts"), text);
}

/** Compiles all sources, unless none has changed since they were compiled. */
function compileAll() {
  const found = folders.flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true }).map((name) => path.join(root, folder, name)),
  );
  const files = [path.join(root, "index.ts"), ...found.filter(isSource)];
  const version = [__filename, ...files]
    .map((file) => [file, statSync(file).mtimeMs, statSync(file).size])
    .join();
  try {
    const kept = JSON.parse(readFileSync(cache, "utf8"));
    if (kept.version === version) {
      for (const [file, text] of kept.compiled) compiled.set(file, text);
      return;
    }
  } catch {
    // There is none.
  }
  compile(files);
  try {
    mkdirSync(path.dirname(cache), { recursive: true });
    writeFileSync(`${cache}.${process.pid}`, JSON.stringify({ version, compiled: [...compiled] }));
    renameSync(`${cache}.${process.pid}`, cache);
  } catch {
    // Somebody else's folder, perhaps: the next process compiles again.
  }
}

function textOf(file) {
  if (compiled.size === 0) compileAll();
  if (!compiled.has(file)) compile([file]);
  return compiled.get(file);
}

require.extensions[".ts"] = (module, file) => module._compile(textOf(file), file);

// The module that Pulumi itself uses for its stack traces. Only for files compiled here: Pulumi asks for stacks all the time, and the
// maps of its own files are large.
require(
  require.resolve("source-map-support", { paths: [require.resolve("@pulumi/pulumi/package.json")] }),
).install({
  environment: "node",
  overrideRetrieveFile: true,
  retrieveFile: (file) => compiled.get(file.replace(/^file:\/\//, "")) ?? null,
});
