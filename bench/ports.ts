/** Where things listen while they are measured: one range, away from all that the tests use. */
export const ports = {
  /** And four more. */
  consul: 28_000,
  consulProxy: 28_009,
  origin: 28_010,
  /** Also two more for statistics and administration, and ten further for each that listens at the same time. */
  traffic: 28_020,
  master: 28_015,
  /** Instances of the churn, one port each. */
  instances: 28_100,
  /** And four more: of a Consul with few services, beside the one with many. */
  otherConsul: 28_900,
} as const;
