import { describe, expect, test } from "vitest";

import { creationSettingsProvider, outdated, requirePlatform } from "./creation-settings";

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

  test("includes its platform, which cannot change", () => {
    const [amd64, arm64] = [{ platform: "linux/amd64" }, { platform: "linux/arm64" }];
    requirePlatform("node-1", amd64, amd64);
    expect(() => {
      requirePlatform("node-1", amd64, arm64);
    }).toThrow(
      "switchyard:machine.type is a type for linux/arm64, but the machine of node-1 was created for linux/amd64",
    );
  });
});
