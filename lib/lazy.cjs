// Pulumi loads a compiler and npm's package manager, more than half of its start, in case functions have to be stored in the state.
// This loads them only when they are used. See the imports in Pulumi's runtime/closure:
// https://github.com/pulumi/pulumi/tree/master/sdk/nodejs/runtime/closure
"use strict";

const { createRequire } = require("node:module");

const requireForPulumi = createRequire(require.resolve("@pulumi/pulumi"));

for (const name of ["typescript", "@npmcli/arborist"]) {
  const file = requireForPulumi.resolve(name);
  let loaded;
  const load = () => {
    delete require.cache[file];
    return requireForPulumi(file);
  };
  // Node.js takes what is in its cache for loaded: https://nodejs.org/docs/latest-v20.x/api/modules.html#requirecache
  require.cache[file] = {
    loaded: true,
    exports: new Proxy({}, { get: (_, key) => key === "__esModule" || (loaded ??= load())[key] }),
  };
}
