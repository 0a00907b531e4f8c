/**
 * The renderer's pure part: from a routing to HAProxy's configuration, and from one configuration to the next by
 * operations or by a reload with its reasons.
 */
export { render, toConfig, toMapFile } from "./render";
export type { HttpsOptions, Part, Places, Rendered, RenderedBackend, RenderOptions } from "./render";
export { applied, loaded, plan, type Actual, type Operation, type Plan } from "./plan";
export { assignPlaces } from "./place";
export { forecast, forecastStack, type Forecast, type StackForecast } from "./forecast";
