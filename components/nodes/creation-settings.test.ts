import { describe, expect, test } from "vitest";

import { creationSettingsProvider, outdated, requireFixed } from "./creation-settings";

const created = { settings: { image: "debian-13" }, userData: "#cloud-config\n", hostKey: "ssh-ed25519 A" };

describe("what a machine was created with", () => {
  test("is kept whatever the program wants later", async () => {
    const { id, outs } = await creationSettingsProvider.create(created);
    expect(outs).toEqual(created);
    const later = { ...created, settings: { image: "debian-14" }, userData: "#cloud-config\npackages: []\n" };
    expect(await creationSettingsProvider.diff?.(id, created, later)).toEqual({ changes: false });
    expect(outdated(created, later)).toEqual(["image", "user data"]);
    expect(outdated(created, created)).toEqual([]);
  });

  test("is renewed with its host key", async () => {
    const renewed = { ...created, settings: { image: "debian-14" }, hostKey: "ssh-ed25519 B" };
    expect(await creationSettingsProvider.diff?.("settings", created, renewed)).toEqual({ changes: true });
    expect(await creationSettingsProvider.update?.("settings", created, renewed)).toEqual({ outs: renewed });
  });

  test.each([
    [
      "platform",
      ["linux/amd64", "linux/arm64"],
      "machine.type is a type for linux/arm64, but the machine of node-1 was created for linux/amd64",
    ],
    [
      "diskType",
      ["pd-balanced", "hyperdisk-balanced"],
      "machine.type is a type for disks of hyperdisk-balanced, but the machine of node-1 was created for disks of pd-balanced",
    ],
    [
      "network",
      ["vpc-1", "vpc-2"],
      "machine is in the network vpc-2, but the machine of node-1 was created in the network vpc-1",
    ],
  ])("includes its %s, which cannot change", (setting, [before = "", after = ""], message) => {
    requireFixed("node-1", { [setting]: before }, { [setting]: before });
    // The state of an earlier version.
    requireFixed("node-1", {}, { [setting]: after });
    expect(() => {
      requireFixed("node-1", { [setting]: before }, { [setting]: after });
    }).toThrow(message);
  });
});
