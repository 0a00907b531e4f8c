import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ReloadLimiter } from "./reload-limiter";

const onReloadable = vi.fn();
let limiter: ReloadLimiter;
beforeEach(() => {
  vi.useFakeTimers();
  onReloadable.mockReset();
  limiter = new ReloadLimiter(onReloadable, () => Date.now());
});
afterEach(() => {
  vi.useRealTimers();
});

test("a reload follows another after two seconds at the earliest, and the caller is told when", () => {
  expect(limiter.allows(["a"])).toBe(true);
  limiter.begins();
  limiter.reset();
  expect(limiter.allows(["b"])).toBe(false);
  expect(limiter.allows(["b", "c"])).toBe(false);
  vi.advanceTimersByTime(2_000);
  expect(onReloadable).toHaveBeenCalledOnce();
  expect(limiter.allows(["b", "c"])).toBe(true);
});

test("a reload that fails is retried less and less often, but at once if it is wanted for other reasons", () => {
  const waits = [4_000, 8_000, 16_000, 30_000, 30_000];
  for (const wait of waits) {
    limiter.fails(["a"], "no");
    expect(limiter.failure).toBe("no");
    vi.advanceTimersByTime(wait - 1);
    expect(limiter.allows(["a"])).toBe(false);
    vi.advanceTimersByTime(1);
    expect(limiter.allows(["a"])).toBe(true);
  }
  expect(onReloadable).toHaveBeenCalledTimes(waits.length);
  limiter.fails(["a"], "no");
  vi.advanceTimersByTime(2_000);
  expect(limiter.allows(["b"])).toBe(true);
  expect(limiter.failure).toBeUndefined();
});

test("without reasons nothing is allowed, and nobody is called", () => {
  limiter.fails(["a"], "no");
  expect(limiter.allows([])).toBe(false);
  expect(limiter.failure).toBeUndefined();
  vi.advanceTimersByTime(60_000);
  expect(onReloadable).not.toHaveBeenCalled();
});
