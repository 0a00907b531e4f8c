import { expect, test } from "vitest";

import { waitHealthy } from "./container";

test.each([
  [true, /^Container "web" was not healthy within 0 s. Output of its last health check: not \\u0008ready$/],
  [false, /^Container "web" stopped \(exit code 3\) before it was healthy\. .*: not \\u0008ready$/],
])(
  "a container that runs (%s) and is not healthy is reported without what does something to a terminal",
  async (Running, message) => {
    const State = {
      Running,
      Restarting: false,
      ExitCode: 3,
      Health: { Status: "unhealthy", Log: [{ Output: "\u001b[2Jnot \u0008ready\n" }] },
    };
    const inspect = () => Promise.resolve({ State });
    await expect(waitHealthy(inspect, { name: "web", waitTimeout: 0 })).rejects.toThrow(message);
  },
);
