/** A resource as it is registered; of its inputs those that the rule asked for, as far as they are known. */
export interface Registration {
  readonly type: string;
  readonly name: string;
  /** The type of the component that it belongs to. */
  readonly parentType?: string | undefined;
  readonly inputs: Readonly<Record<string, unknown>>;
}

/** What is known of the images that the program itself builds. */
export interface BuiltImages {
  /** Whether the image, by its name without tag or digest, was built from a Dockerfile with a HEALTHCHECK. */
  readonly hasHealthCheck: (repository: string) => boolean;
}

export interface Rule {
  readonly name: string;
  readonly types: readonly string[];
  /** The inputs that it looks at. Nothing of the resource is created before they have been seen. */
  readonly inputs: readonly [string, ...string[]];
  /** What is wrong, and how to put it right; undefined if nothing is. */
  readonly check: (registration: Registration, images: BuiltImages) => string | undefined;
}

export const container = "docker:index/container:Container";
export const swarmService = "pulumi-nodejs:dynamic/switchyard:SwarmService";
