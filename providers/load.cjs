// Loads a provider in Pulumi's process for dynamic resources: `load("providers/engine.ts", "engineProvider")`.
"use strict";

const net = require("node:net");
const path = require("node:path");

// That process does not notice when its engine is killed, and would go on working beside the next run.
const [, script, engine] = process.argv;
if (/dynamic-provider/.test(script) && /:\d+$/.test(engine)) {
  const port = Number(engine.split(":").at(-1));
  const watch = () => {
    const connection = net.connect(port, "127.0.0.1", () => connection.destroy());
    connection.on("error", ({ code }) => code === "ECONNREFUSED" && process.exit(1));
  };
  setInterval(watch, 1000).unref();
}

module.exports = (file, name) => {
  if (!require.extensions[".ts"]) require("../lib/register.cjs");
  return require(path.join(__dirname, "..", file))[name];
};
