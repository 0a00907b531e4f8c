import { expect, test } from "vitest";

import { UserError } from "../../lib/errors";
import { commonBridge } from "./node";

test("the bridge's address has to be the same on all nodes", () => {
  const nodes = (...bridges: string[]) => bridges.map((bridge, index) => ({ name: `n${index}`, bridge }));
  expect(commonBridge(nodes("172.17.0.1", "172.17.0.1"))).toBe("172.17.0.1");
  const differ = () => commonBridge(nodes("172.17.0.1", "172.18.0.1"));
  expect(differ).toThrow(UserError);
  expect(differ).toThrow('write "bip": "172.17.0.1/16" into /etc/docker/daemon.json on n1');
});
