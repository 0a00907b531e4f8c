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

/** A service with a schedule. */
export interface SwarmJob {
  readonly id: string;
  readonly version: number;
  readonly swarmName: string;
  /** The name in the stack file, if its containers have it as a label. */
  readonly name: string;
  /** The service's own labels that begin with `switchyard.`. */
  readonly labels: Labels;
  /** As in `2026-11-29T03:00:00.000Z`. */
  readonly createdAt: string;
  /** The number of the last run. */
  readonly run: number;
  /** Whether that run has been started since the service changed. */
  readonly started: boolean;
  /** Whether Docker tries a failed run again. */
  readonly retries: boolean;
  /** The tasks of the last run. */
  readonly attempts: readonly SwarmRun[];
}

export interface SwarmRun {
  readonly state: string;
  readonly createdAt: string;
  /** When it got into this state. */
  readonly changedAt: string;
  readonly exitCode?: number;
  /** Docker's words. */
  readonly error?: string;
}

export interface Swarm {
  readonly services: readonly SwarmService[];
  readonly jobs: readonly SwarmJob[];
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

/** The body of the start of a job's run. */
export interface StartRun {
  readonly version: number;
  /** The time of the schedule. */
  readonly due: string;
}

/** The body of the end of a job's run. */
export interface EndRun {
  readonly version: number;
}
