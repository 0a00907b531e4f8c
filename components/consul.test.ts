import { expect, test } from "vitest";

import { agentArguments } from "./consul";

test("agents keep no output of checks, which every container could read", () => {
  const common = { name: "one", address: "10.0.0.1", bridge: "172.17.0.1", httpPort: 8500, dnsPort: 53 };
  for (const servers of [["10.0.0.1"], ["10.0.0.2"]]) {
    const hcl = agentArguments({ ...common, servers }).find((each) => each.startsWith("-hcl=")) ?? "";
    expect(JSON.parse(hcl.slice("-hcl=".length))).toMatchObject({ discard_check_output: true });
  }
});
