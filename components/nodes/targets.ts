/**
 * Where nodes can come from. This is the one place where targets are listed: each is the file of this folder that has
 * its name, which exports `createNodes` and is loaded only when it is chosen.
 */
export const targets = ["local", "hosts", "virtualbox", "aws", "gce"] as const;

export type Target = (typeof targets)[number];
