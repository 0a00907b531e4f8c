/**
 * The label of every container that the tests start, and of those in the stacks they deploy: inherited from the base images
 * below, which `setup` makes.
 */
export const containerMark = "switchyard.e2e";

/** The base images of all images in the tests: those of `script/bootstrap` with the label. */
export const baseImage = "switchyard/base:e2e";
export const consulImage = "switchyard/consul-base:e2e";
