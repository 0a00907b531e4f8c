import { expect, test } from "vitest";
import { tasksIn } from "../../../../routing/scaling/room";
import { needsTasks, servicesIn, withTasks } from "./services";
import { dockerService, serviceId } from "./testing";

test("only what scaling needs is told of a service", () => {
  const limits = { TaskTemplate: { Resources: { Limits: { NanoCPUs: 500_000_000, MemoryBytes: 64 } } } };
  expect(servicesIn([dockerService()])).toEqual([
    {
      id: serviceId,
      version: 12,
      swarmName: "hello-v1",
      labels: { "switchyard.replicas.max": "5", "switchyard.replicas.target": "10" },
      registration: { name: "hello/v1", tags: ["rest"], meta: { host: "api.example.com" } },
      replicas: 2,
      running: 2,
      updating: false,
      tasks: [],
    },
  ]);
  expect(servicesIn([dockerService({ spec: limits })])[0]).toMatchObject({ cores: 0.5, memoryBytes: 64 });
});

test("services of a stack are told of, and others that ask to be scaled", () => {
  const listed = [
    { "switchyard.owner": "me" },
    { "switchyard.memory": "auto" },
    { "switchyard.cpus.max": "2" },
  ];
  expect(listed.map((labels) => servicesIn([dockerService({ labels })]).length)).toEqual([1, 1, 1]);
  const others = [
    {},
    { "com.example": "1" },
    { "switchyard.limits.cpus": "1" },
    { "switchyard.replicasx": "1" },
  ];
  expect(servicesIn(others.map((labels) => dockerService({ labels })))).toEqual([]);
  expect(servicesIn("no list")).toEqual([]);
});

test("an update is told of while it lasts", () => {
  const states = ["updating", "rollback_started", "completed", "paused"];
  const services = states.map((State) => dockerService({ UpdateStatus: { State } }));
  expect(servicesIn(services).map(({ updating }) => updating)).toEqual([true, true, false, false]);
});

test.each([
  [{ Mode: { Global: {} } }, "does not have replicas"],
  [{ EndpointSpec: { Ports: [{ TargetPort: 80 }, { TargetPort: 81 }] } }, "registers as -80 and -81"],
])("%j has a problem", (spec, problem) => {
  const image = { TaskTemplate: {} };
  expect(servicesIn([dockerService({ spec: { ...image, ...spec } })])[0]?.problem).toContain(problem);
});

test("a service without ports registers nothing, and one of several ports may be ignored", () => {
  const [none] = servicesIn([dockerService({ spec: { EndpointSpec: {} } })]);
  expect([none?.registration, none?.problem]).toEqual([undefined, undefined]);
  const ports = {
    EndpointSpec: { Ports: [{ TargetPort: 80 }, { TargetPort: 81 }] },
    TaskTemplate: {
      ContainerSpec: { Env: ["SERVICE_81_IGNORE=1", "SERVICE_80_NAME=shop", "SERVICE_TAGS=rest"] },
    },
  };
  expect(servicesIn([dockerService({ spec: ports })])[0]?.registration).toEqual({
    name: "shop",
    tags: ["rest"],
    meta: {},
  });
});

const task = (id: string, status: object) => ({
  ID: id,
  ServiceID: serviceId,
  DesiredState: "running",
  Status: status,
});
const noRoom = { State: "pending", Err: "no suitable node (insufficient resources on 2 nodes)" };

test("tasks wait for room if Docker says so", () => {
  const tasks = tasksIn([
    task("a", { State: "running" }),
    task("b", noRoom),
    task("c", { State: "pending" }),
    { ...task("d", noRoom), DesiredState: "shutdown" },
  ]);
  const [service] = withTasks(servicesIn([dockerService()]), tasks);
  expect(service?.tasks).toEqual([
    { id: "a", state: "running" },
    { id: "b", state: "pending", noRoom: noRoom.Err },
    { id: "c", state: "pending" },
  ]);
});

test("only services that lack tasks, or whose processor use decides, have their tasks listed", () => {
  const processor = { "switchyard.replicas.max": "5", "switchyard.replicas.cpu": "70%" };
  const services = [
    dockerService(),
    dockerService({ ServiceStatus: { RunningTasks: 1 } }),
    dockerService({ labels: processor }),
    dockerService({ labels: { "switchyard.owner": "me" }, ServiceStatus: { RunningTasks: 1 } }),
  ];
  expect(servicesIn(services).map(needsTasks)).toEqual([false, true, true, false]);
});
