/**
 * The renderer's pure part: from a routing to HAProxy's configuration, and from what HAProxy has to another configuration by
 * operations, or by a reload with its reasons.
 */
export { render, toConfig, toMapFile } from "./config/render";
export type { HttpsOptions, Part, Rendered, RenderedBackend, RenderOptions, Slots } from "./config/types";
export type { Actual, Operation } from "./haproxy/types";
export { loaded, plan, type Plan } from "./reconcile/planner";
export { toSentence, type Reason } from "./reconcile/reasons";
export { assignSlots } from "./config/backend-pool";
export { forecast, forecastStack, type Forecast, type StackForecast } from "./reconcile/forecast";
