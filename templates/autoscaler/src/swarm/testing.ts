/** Shared by tests: services as Docker answers them. */

type Json = Readonly<Record<string, unknown>>;

export const serviceId = "abcdefghij0123456789abcde";

/** A service as in Docker's `GET /services`. */
export const dockerService = ({
  labels = { "switchyard.replicas.max": "5", "switchyard.replicas.target": "10" },
  replicas = 2,
  spec = {},
  ...more
}: {
  readonly labels?: Json;
  readonly replicas?: number;
  readonly spec?: Json;
  readonly [key: string]: unknown;
} = {}): Json => ({
  ID: serviceId,
  Version: { Index: 12 },
  Spec: {
    Name: "hello-v1",
    Labels: labels,
    TaskTemplate: {
      ContainerSpec: {
        Image: "switchyard/hello:1",
        Env: ["SECRET=1"],
        Labels: { SERVICE_NAME: "hello/v1", SERVICE_TAGS: "rest", SERVICE_HOST: "api.example.com" },
      },
    },
    Mode: { Replicated: { Replicas: replicas } },
    EndpointSpec: { Ports: [{ Protocol: "tcp", TargetPort: 8080, PublishMode: "host" }] },
    ...spec,
  },
  ServiceStatus: { RunningTasks: replicas, DesiredTasks: replicas },
  ...more,
});
