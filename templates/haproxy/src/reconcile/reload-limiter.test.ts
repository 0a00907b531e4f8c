import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ReloadPace } from "./reload-limiter";

const onReloadable = vi.fn();
let pace: ReloadPace;
beforeEach(() => {
  vi.useFakeTimers();
  onReloadable.mockReset();
  pace = new ReloadPace(onReloadable, () => Date.now());
});
afterEach(() => {
  vi.useRealTimers();
});

test("one reload follows another after two seconds at the earliest, and it is said when", () => {
  expect(pace.allows(["a"])).toBe(true);
  pace.begins();
  pace.forget();
  expect(pace.allows(["b"])).toBe(false);
  expect(pace.allows(["b", "c"])).toBe(false);
  vi.advanceTimersByTime(2_000);
  expect(onReloadable).toHaveBeenCalledOnce();
  expect(pace.allows(["b", "c"])).toBe(true);
});

test("one that fails is tried less and less often, and at once again when it is wanted for other reasons", () => {
  const waits = [4_000, 8_000, 16_000, 30_000, 30_000];
  for (const wait of waits) {
    pace.fails(["a"], "no");
    expect(pace.failure).toBe("no");
    vi.advanceTimersByTime(wait - 1);
    expect(pace.allows(["a"])).toBe(false);
    vi.advanceTimersByTime(1);
    expect(pace.allows(["a"])).toBe(true);
  }
  expect(onReloadable).toHaveBeenCalledTimes(waits.length);
  pace.fails(["a"], "no");
  vi.advanceTimersByTime(2_000);
  expect(pace.allows(["b"])).toBe(true);
  expect(pace.failure).toBeUndefined();
});
