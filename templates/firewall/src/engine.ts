/** The containers of the Docker Engine, and their changes. */
import { HttpClient } from "../../../lib/http";
import { instancesIn, SWARM_LABEL, type Instances } from "./instances";

const query = (filters: Readonly<Record<string, readonly string[]>>): string =>
  `filters=${encodeURIComponent(JSON.stringify(filters))}`;

const listPath = `/containers/json?${query({ label: [SWARM_LABEL] })}`;
const eventsPath = `/events?${query({
  label: [SWARM_LABEL],
  type: ["container"],
  event: ["start", "restart", "die"],
})}`;

export class Engine {
  private readonly http: HttpClient;

  constructor(socketPath: string) {
    this.http = new HttpClient({ socketPath });
  }

  /** The instances that run now. */
  async instances(): Promise<Instances> {
    return instancesIn(JSON.parse((await this.http.ok("GET", listPath)).body));
  }

  /**
   * Calls `changed` once the stream of events is open, and whenever an instance starts or ends. Resolves when the stream ends.
   *
   * @throws Error if the engine does not answer
   */
  async follow(changed: () => void): Promise<void> {
    const events = await this.http.stream(eventsPath);
    changed();
    events.on("data", changed);
    await new Promise((resolve) => events.on("close", resolve));
  }
}
