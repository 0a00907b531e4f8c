/** The ports of the benchmarks: one range that no test uses. */
export const ports = {
  /** Uses four more. */
  consul: 28_000,
  consulProxy: 28_009,
  origin: 28_010,
  nodeProxy: 28_011,
  /** Uses two more for statistics and administration. A contender that runs at the same time starts ten higher. */
  traffic: 28_020,
  master: 28_015,
  /** One port per instance of the churn. */
  instances: 28_100,
  /** For a second Consul with few services; uses four more. */
  otherConsul: 28_900,
} as const;
