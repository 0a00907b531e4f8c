import { docker } from "./docker";

const api = "http://localhost:8500/v1";

/** Registers a service as anybody who reaches Consul can: no Registrator in between. */
export async function register(service: Readonly<Record<string, unknown>>): Promise<void> {
  await put("/agent/service/register", JSON.stringify(service));
}

export async function deregister(id: string): Promise<void> {
  await put(`/agent/service/deregister/${encodeURIComponent(id)}`, "");
}

export async function putKey(key: string, value: string): Promise<void> {
  await put(`/kv/${key}`, value);
}

export async function deleteKey(key: string): Promise<void> {
  await fetch(`${api}/kv/${key}`, { method: "DELETE" });
}

async function put(path: string, body: string): Promise<void> {
  const response = await fetch(api + path, { method: "PUT", body });
  if (!response.ok) throw new Error(`Consul refuses ${path}: ${await response.text()}`);
}

/** Restarts Consul without anything that it knew. */
export async function emptyConsul(): Promise<void> {
  await docker("exec", "consul", "sh", "-c", "rm -rf /data/*");
  await docker("kill", "consul");
  await docker("start", "consul");
}
