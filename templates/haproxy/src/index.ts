/**
 * The renderer's pure part: from a routing to HAProxy's configuration, and from one configuration to the next by
 * operations or by a reload with its reasons.
 */
export { render, toConfig, toMapFile } from "./config/render";
export type { HttpsOptions, Part, Places, Rendered, RenderedBackend, RenderOptions } from "./config/types";
export type { Actual, Operation } from "./haproxy/types";
export { applied, loaded, plan, type Plan } from "./reconcile/planner";
export { assignPlaces } from "./config/backend-pool";
export { forecast, forecastStack, type Forecast, type StackForecast } from "./reconcile/forecast";
