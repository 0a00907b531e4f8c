import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";

/** Where a provider is defined: the file, which passes its `__filename`, and the name of the export. */
export interface ProviderSource {
  readonly file: string;
  readonly provider: string;
}

/**
 * A resource that a provider of this repository manages. Unlike `pulumi.dynamic.Resource`, it stores where the provider's
 * code is instead of the code itself, which would be 45 KB twice in every resource and takes a second to serialise.
 */
export abstract class DynamicResource extends pulumi.CustomResource {
  constructor(
    source: ProviderSource,
    name: string,
    props: pulumi.Inputs,
    opts: pulumi.CustomResourceOptions | undefined,
    type: string,
  ) {
    super(
      `pulumi-nodejs:dynamic/switchyard:${type}`,
      name,
      { ...props, __provider: reference(source) },
      opts,
    );
  }
}

/** Code for Pulumi's process for dynamic providers, which runs in the program's folder. The same on every machine. */
export function reference({ file, provider }: ProviderSource): string {
  const relative = path.relative(path.join(__dirname, ".."), file).split(path.sep).join("/");
  return (
    `exports.handler = () => require("node:module").createRequire(process.cwd() + "/")` +
    `("switchyard/providers/load.cjs")(${JSON.stringify(relative)}, ${JSON.stringify(provider)});`
  );
}
