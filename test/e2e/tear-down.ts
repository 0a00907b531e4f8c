const steps: (() => unknown)[] = [];

/** Adds a step to what `tearDown` does. Call it right after the step becomes necessary: a set-up may fail halfway. */
export function afterwards(step: () => unknown): void {
  steps.push(step);
}

/** Stops and removes what the test file started, the latest first. A failed step does not keep the others from running. */
export async function tearDown(): Promise<void> {
  const errors: unknown[] = [];
  for (let step = steps.pop(); step !== undefined; step = steps.pop()) {
    try {
      await step();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0)
    throw errors.length === 1 ? errors[0] : new AggregateError(errors, "tear-down failed");
}
