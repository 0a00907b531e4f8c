/** A resource being registered, with those inputs that the rule asked for and that are known. */
export interface Registration {
  readonly type: string;
  readonly name: string;
  /** The type of its parent component. */
  readonly parentType?: string | undefined;
  readonly inputs: Readonly<Record<string, unknown>>;
}

/** What the program knows about the images that it builds. */
export interface BuiltImages {
  /** Whether the image was built from a Dockerfile with a HEALTHCHECK. `repository` is its name without tag or digest. */
  readonly hasHealthCheck: (repository: string) => boolean;
}

export interface Rule {
  readonly name: string;
  readonly types: readonly string[];
  /** The inputs that it checks. The resource is not created before they have been checked. */
  readonly inputs: readonly [string, ...string[]];
  /** What is wrong and how to fix it; undefined if the resource complies. */
  readonly check: (registration: Registration, images: BuiltImages) => string | undefined;
}

export const container = "docker:index/container:Container";
export const swarmService = "pulumi-nodejs:dynamic/switchyard:SwarmService";
export const rollingContainer = "pulumi-nodejs:dynamic/switchyard:RollingContainer";
