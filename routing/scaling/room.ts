/** What a Swarm has room for, by Docker's answers about tasks and nodes. */
import { isMapping } from "../../lib/values";

const mapping = (value: unknown): Readonly<Record<string, unknown>> => (isMapping(value) ? value : {});
const count = (value: unknown): number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : 0;
const text = (value: unknown): string => (typeof value === "string" ? value : "");

/** A task, as far as scaling needs it. */
export interface SwarmTask {
  readonly id: string;
  /** `running`, `starting`, `pending` and others of Docker's. */
  readonly state: string;
  /** Why no node has room for it, if none has. */
  readonly noRoom?: string;
}

export interface Task extends SwarmTask {
  readonly service: string;
  /** What it reserves. */
  readonly reserved: Room;
}

/** Processor and memory, as Docker counts them. */
export interface Room {
  readonly nanoCores: number;
  readonly bytes: number;
}

/** The tasks that are to run. */
export const tasksIn = (answer: unknown): Task[] =>
  (Array.isArray(answer) ? answer : [])
    .filter(isMapping)
    .filter(({ DesiredState }) => DesiredState === "running")
    .map((task) => {
      const status = mapping(task["Status"]);
      const [state, error] = [text(status["State"]), text(status["Err"])];
      const reserved = mapping(mapping(mapping(task["Spec"])["Resources"])["Reservations"]);
      return {
        id: text(task["ID"]),
        service: text(task["ServiceID"]),
        state,
        ...(state === "pending" && error.startsWith("no suitable node") && { noRoom: error }),
        reserved: roomOf(reserved),
      };
    });

const roomOf = (resources: Readonly<Record<string, unknown>>): Room => ({
  nanoCores: count(resources["NanoCPUs"]),
  bytes: count(resources["MemoryBytes"]),
});

/** What each node has in Docker's `GET /nodes`. */
export const roomsIn = (nodes: unknown): Room[] =>
  (Array.isArray(nodes) ? nodes : [])
    .filter(isMapping)
    .map((node) => roomOf(mapping(mapping(node["Description"])["Resources"])));

/** Reasons that another node would solve; a missing node label is not one of them. */
const fits = /insufficient resources|host-mode port|max replicas per node/;

/**
 * How many nodes more the waiting tasks need, each as large as the largest there is. Tasks that reserve nothing wait for a
 * port, or a place on a node: each of a service needs a node of its own.
 */
export function nodesWanted(tasks: readonly Task[], nodes: unknown): number {
  const rooms = roomsIn(nodes);
  const most = (key: keyof Room): number => Math.max(1, ...rooms.map((room) => room[key]));
  const waiting = tasks.filter(({ noRoom }) => noRoom !== undefined && fits.test(noRoom));
  const share = ({ reserved }: Task): number =>
    Math.max(reserved.nanoCores / most("nanoCores"), reserved.bytes / most("bytes"));
  const needed = waiting.reduce((sum, task) => sum + (share(task) || 1), 0);
  return Math.max(0, Math.ceil(needed - 1e-9));
}
