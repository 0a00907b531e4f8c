import { docker } from "./docker";

/** The Consul of the stack under test. */
const address = "localhost:8500";

/** Registers a service directly, as anyone who can reach Consul may. */
export async function register(service: Readonly<Record<string, unknown>>): Promise<void> {
  await put(address, "agent/service/register", service);
}

export async function deregister(id: string): Promise<void> {
  await put(address, `agent/service/deregister/${encodeURIComponent(id)}`, "");
}

export async function putKey(key: string, value: string): Promise<void> {
  await put(address, `kv/${key}`, value);
}

export async function deleteKey(key: string): Promise<void> {
  await fetch(`http://${address}/v1/kv/${key}`, { method: "DELETE" });
}

/** Sends text as it is and everything else as JSON; throws with Consul's answer if Consul refuses. */
export async function put(consul: string, path: string, body: unknown): Promise<void> {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const response = await fetch(`http://${consul}/v1/${path}`, { method: "PUT", body: text });
  if (!response.ok) throw new Error(`Consul refuses ${path}: ${await response.text()}`);
}

/** Restarts Consul with all its data deleted. */
export async function emptyConsul(): Promise<void> {
  await docker("exec", "consul", "sh", "-c", "rm -rf /data/*");
  await docker("kill", "consul");
  await docker("start", "consul");
}
