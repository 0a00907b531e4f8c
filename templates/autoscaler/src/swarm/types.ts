/** What the narrow socket tells of a Swarm: services that ask to be scaled or are the stack's, and nothing else of Docker. */
import type { Labels } from "../../../../routing/scaling/labels";
import type { ChosenLimits } from "../../../../routing/scaling/limits";
import type { SwarmTask } from "../../../../routing/scaling/room";

export interface SwarmService {
  readonly id: string;
  /** The service's version, which a change has to name: Docker refuses one of a service that has changed meanwhile. */
  readonly version: number;
  /** As in `docker service ls`. */
  readonly swarmName: string;
  /** The service's own labels that begin with `switchyard.`. */
  readonly labels: Labels;
  readonly registration: Registration | undefined;
  /** Why it cannot be scaled, whatever its labels say. */
  readonly problem?: string;
  /** How many instances its specification asks for. */
  readonly replicas: number;
  readonly running: number;
  /** Whether Docker is replacing its instances. */
  readonly updating: boolean;
  /** The processor limit of an instance in cores, if it has one. */
  readonly cores?: number;
  /** Its limit of memory, if it has one. */
  readonly memoryBytes?: number;
  /** Those that are to run. Left out for a service that has all it asks for, unless its processor use decides. */
  readonly tasks: readonly SwarmTask[];
}

/** How its instances register in Consul. */
export interface Registration {
  readonly name: string;
  readonly tags: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
}

export interface Swarm {
  readonly services: readonly SwarmService[];
  /** How many nodes more the tasks that wait for room need. */
  readonly nodesWanted: number;
  /** Those of the smallest node, where they matter: Docker refuses a limit of more. */
  readonly cores: number;
}

/** The body of a change of replicas. */
export interface Rescale {
  readonly version: number;
  readonly replicas: number;
}

/** The body of a change of the limits that are chosen for a service. */
export interface Relimit extends ChosenLimits {
  readonly version: number;
  /** Whether the specification of instances gets the limits as well, which replaces all of them. */
  readonly rollout?: true;
}
