/** What BuildKit reports while it builds: from moby/buildkit, api/services/control. */
import { fromJSON, type ServiceDefinition } from "@grpc/proto-loader";
import type { Progress } from "../../lib/images";
import { isMapping } from "../../lib/values";

interface Status {
  readonly vertexes?: readonly {
    readonly name: string;
    readonly started?: object;
    readonly completed?: object;
  }[];
  readonly logs?: readonly { readonly msg: Buffer }[];
}

const messages: Readonly<Record<string, object>> = {
  Trace: { methods: { Get: { requestType: "Status", responseType: "Status" } } },
  Status: {
    fields: {
      vertexes: { rule: "repeated", type: "Vertex", id: 1 },
      logs: { rule: "repeated", type: "VertexLog", id: 3 },
    },
  },
  Vertex: {
    fields: {
      name: { type: "string", id: 3 },
      started: { type: "Time", id: 5 },
      completed: { type: "Time", id: 6 },
    },
  },
  Time: { fields: { seconds: { type: "int64", id: 1 } } },
  VertexLog: { fields: { msg: { type: "bytes", id: 4 } } },
};
const { Get } = fromJSON({ nested: messages })["Trace"] as ServiceDefinition;

/** The steps that a line says have started, and what their programs have written. */
export function textOf({ id, aux }: Progress): string {
  if (id !== "moby.buildkit.trace" || typeof aux !== "string") return "";
  const status = Get?.responseDeserialize(Buffer.from(aux, "base64"));
  const { vertexes = [], logs = [] } = (isMapping(status) ? status : {}) as Status;
  const steps = vertexes.filter(
    ({ name, started, completed }) =>
      started !== undefined && completed === undefined && !name.startsWith("[internal]"),
  );
  return [...steps.map(({ name }) => `${name}\n`), ...logs.map(({ msg }) => msg.toString())].join("");
}
