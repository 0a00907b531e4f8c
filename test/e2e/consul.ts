import { docker } from "./docker";

/** The Consul of the stack under test. */
const address = "localhost:8500";

/** The operator's token of the stack under test. */
const operator = (): Promise<string> => docker("exec", "consul", "cat", "/secrets/operator");

/** Registers a service directly, as the operator may. */
export async function register(service: Readonly<Record<string, unknown>>): Promise<void> {
  await put(address, "agent/service/register", service, await operator());
}

export async function deregister(id: string): Promise<void> {
  await put(address, `agent/service/deregister/${encodeURIComponent(id)}`, "", await operator());
}

export async function putKey(key: string, value: string): Promise<void> {
  await put(address, `kv/${key}`, value, await operator());
}

export async function deleteKey(key: string): Promise<void> {
  const headers = { "X-Consul-Token": await operator() };
  await fetch(`http://${address}/v1/kv/${key}`, { method: "DELETE", headers });
}

/** Sends text as it is and everything else as JSON; throws with Consul's answer if Consul refuses. */
export async function put(consul: string, path: string, body: unknown, token?: string): Promise<void> {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const headers = token === undefined ? {} : { "X-Consul-Token": token };
  const response = await fetch(`http://${consul}/v1/${path}`, { method: "PUT", body: text, headers });
  if (!response.ok) throw new Error(`Consul refuses ${path}: ${await response.text()}`);
}

/** Restarts Consul with all its data deleted. */
export async function emptyConsul(): Promise<void> {
  await docker("exec", "consul", "sh", "-c", "rm -rf /data/*");
  await docker("kill", "consul");
  await docker("start", "consul");
}
