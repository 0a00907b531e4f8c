/** What a change of the routing takes of a running HAProxy that has had no other changes since its last reload. Pure. */
import type { Routing } from "../../../model/routes";
import { assignPlaces } from "./place";
import { loaded, plan, type Plan } from "./plan";
import { render, type Rendered, type RenderOptions } from "./render";
import { describe } from "./report";

export interface Forecast {
  readonly plan: Plan;
  readonly sentence: string;
}

export function forecast(before: Routing, after: Routing, options: RenderOptions): Forecast {
  const running = render(before, options);
  const actual = loaded(running);
  const desired = render(after, options, assignPlaces(after, actual, new Map()));
  const steps = plan(actual, desired);
  return { plan: steps, sentence: sentence(steps, running, desired) };
}

function sentence(steps: Plan, ...configurations: readonly Rendered[]): string {
  switch (steps.kind) {
    case "nothing":
      return "nothing to do";
    case "reload":
      return `a reload, because ${steps.reasons.join("; ")}`;
    case "operations": {
      const services = new Map(
        configurations.flatMap(({ backends }) =>
          backends.flatMap(({ name, service }): [string, string][] =>
            service === undefined ? [] : [[name, service]],
          ),
        ),
      );
      const { length } = steps.operations;
      return `${length} ${length === 1 ? "operation" : "operations"}, no reload: ${describe(steps.operations, services)}`;
    }
  }
}
