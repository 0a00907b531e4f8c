/** A resource as the program declares it, read from its complete registration request. Pulumi's mocks see only part of it. */
import type { RegisterResourceRequest } from "@pulumi/pulumi/proto/resource_pb";
import { UserError } from "../lib/errors";
import type { WireMap } from "./wire";

export interface Goal {
  readonly urn: string;
  readonly type: string;
  readonly name: string;
  readonly custom: boolean;
  readonly parent: string | undefined;
  /** URN of the explicit provider. */
  readonly provider: string | undefined;
  readonly inputs: WireMap;
  readonly dependencies: string[];
  readonly propertyDependencies: Record<string, string[]>;
  readonly protect: boolean;
  readonly retainOnDelete: boolean;
  readonly deletedWith: string | undefined;
  readonly deleteBeforeReplace: boolean | undefined;
  readonly ignoreChanges: string[];
  readonly replaceOnChanges: string[];
  readonly replaceWith: string[];
  readonly additionalSecretOutputs: string[];
  readonly aliases: string[];
}

const STACK_TYPE = "pulumi:pulumi:Stack";

/** Builds a URN. The types of all parents except the stack qualify the type (sdk/go/common/resource/urn). */
export function newUrn(stack: string, project: string, parent: string, type: string, name: string): string {
  const parentType = parent.split("::")[2] ?? "";
  const qualified = parentType === "" || parentType === STACK_TYPE ? type : `${parentType}$${type}`;
  return `urn:pulumi:${stack}::${project}::${qualified}::${name}`;
}

export function goalOf(request: RegisterResourceRequest, stack: string, project: string): Goal {
  const type = request.getType();
  const name = request.getName();
  const parent = request.getParent();
  const reference = request.getProvider();
  if (request.getImportid() !== "") {
    throw new UserError(
      `"${name}": the \`import\` option is not supported by the embedded engine: remove it.`,
    );
  }
  if (request.getRemote()) {
    throw new UserError(
      `"${name}" (${type}) is a component of another package, which the embedded engine does not support: use the Pulumi CLI (ENGINE=pulumi).`,
    );
  }
  const propertyDependencies: Record<string, string[]> = {};
  request.getPropertydependenciesMap().forEach((dependencies, key) => {
    propertyDependencies[key] = dependencies.getUrnsList();
  });
  return {
    urn: newUrn(stack, project, parent, type, name),
    type,
    name,
    custom: request.getCustom(),
    parent: parent || undefined,
    provider: reference === "" ? undefined : reference.slice(0, reference.lastIndexOf("::")),
    inputs: request.getObject()?.toJavaScript() ?? {},
    dependencies: request.getDependenciesList(),
    propertyDependencies,
    protect: request.getProtect() ?? false,
    retainOnDelete: request.getRetainondelete() ?? false,
    deletedWith: request.getDeletedwith() || undefined,
    deleteBeforeReplace: request.getDeletebeforereplacedefined()
      ? request.getDeletebeforereplace()
      : undefined,
    ignoreChanges: request.getIgnorechangesList(),
    replaceOnChanges: request.getReplaceonchangesList(),
    replaceWith: request.getReplaceWithList(),
    additionalSecretOutputs: request.getAdditionalsecretoutputsList(),
    aliases: request.getAliasurnsList(),
  };
}
