// Loads a provider in Pulumi's process for dynamic resources: `load("providers/engine.ts", "engineProvider")`.
"use strict";

const path = require("node:path");

module.exports = (file, name) => {
  if (!require.extensions[".ts"]) require("../lib/register.cjs");
  return require(path.join(__dirname, "..", file))[name];
};
